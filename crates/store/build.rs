//! Rebuilds the crate when a migration is added: `sqlx::migrate!` sees only the files that it already knew.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
