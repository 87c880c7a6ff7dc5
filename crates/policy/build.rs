//! Rebuilds the crate when a shipped policy file changes: the files are embedded, and the compiler does not watch them.

fn main() {
    println!("cargo:rerun-if-changed=../../policies");
}
