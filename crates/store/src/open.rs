//! Opening the database: the file, its settings, its schema.

use std::fs::{OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::SqlitePool;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::{Store, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Readers do not wait for each other; more connections than this help nobody, as writers take turns.
const CONNECTIONS: u32 = 4;
/// How long a writer waits for its turn before it says that the database is locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Two processes that open a new database at once collide in making the tables; the loser tries again after this.
const MIGRATION_PAUSE: Duration = Duration::from_millis(100);
/// The records name persons: for the owner only.
const OWNER_ONLY: u32 = 0o600;

impl Store {
    /// Opens the database of a URL such as `sqlite:///var/lib/wardgate/wardgate.db` and brings its schema up to
    /// date. A file that is missing is made, readable by its owner only; its directory must exist.
    ///
    /// What a finished change wrote survives a crash and a power cut: the write-ahead log is flushed with each
    /// transaction (`synchronous=FULL`).
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = options(url)?;
        let path = options.get_filename().to_owned();
        prepare_file(&path).map_err(|source| StoreError::Unwritable { path: path.clone(), source })?;
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
        migrate(&pool).await?;
        Ok(Self { pool })
    }
}

fn options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    let path = url.strip_prefix("sqlite:").filter(|path| !path.trim_matches('/').is_empty());
    if path.is_none_or(|path| path.contains(":memory:") || path.contains("mode=")) {
        return Err(StoreError::Url("an SQLite file is needed".to_owned()));
    }
    let options: SqliteConnectOptions =
        url.parse().map_err(|error: sqlx::Error| StoreError::Url(error.to_string()))?;
    Ok(options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true))
}

/// Makes the file if it is missing, and keeps others from reading it; SQLite gives its side files the same mode.
/// A file that exists is not opened here: closing it would drop the locks that SQLite holds on it in this process
/// (<https://www.sqlite.org/howtocorrupt.html>, section 2.2).
fn prepare_file(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::set_permissions(path, Permissions::from_mode(OWNER_ONLY))
        }
        made => made.map(drop),
    }
}

async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    let began = Instant::now();
    loop {
        match MIGRATIONS.run(pool).await {
            Err(MigrateError::Execute(_) | MigrateError::ExecuteMigration(..))
                if began.elapsed() < BUSY_TIMEOUT =>
            {
                tokio::time::sleep(MIGRATION_PAUSE).await;
            }
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use sqlx::ConnectOptions;
    use tempfile::TempDir;

    use super::*;

    /// A new store in a directory that vanishes with the first part.
    pub(crate) async fn store() -> (TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&url(&directory)).await.unwrap();
        (directory, store)
    }

    fn url(directory: &TempDir) -> String {
        format!("sqlite://{}/wardgate.db", directory.path().display())
    }

    #[tokio::test]
    async fn the_files_are_for_the_owner_only() {
        let (directory, store) = store().await;
        store.accounts().add(&wardgate_core::UserName::new("alice"), "hash", &[]).await.unwrap();
        let mut files = 0;
        for entry in directory.path().read_dir().unwrap() {
            let entry = entry.unwrap();
            assert_eq!(
                entry.metadata().unwrap().permissions().mode() & 0o777,
                OWNER_ONLY,
                "{:?}",
                entry.path()
            );
            files += 1;
        }
        assert!(files >= 2, "the database and its write-ahead log");
    }

    #[tokio::test]
    async fn a_file_that_others_could_read_is_closed_to_them() {
        let (directory, store) = store().await;
        store.close().await;
        let path = directory.path().join("wardgate.db");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        Store::open(&url(&directory)).await.unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, OWNER_ONLY);
    }

    #[tokio::test]
    async fn settings_that_survive_a_power_cut() {
        let (_directory, store) = store().await;
        for (pragma, expected) in [
            ("PRAGMA journal_mode", "wal"),
            ("PRAGMA synchronous", "2"),
            ("PRAGMA foreign_keys", "1"),
            ("PRAGMA busy_timeout", "5000"),
        ] {
            let row = sqlx::query(pragma).fetch_one(&store.pool).await.unwrap();
            let value = sqlx::Row::try_get::<String, _>(&row, 0)
                .or_else(|_| sqlx::Row::try_get::<i64, _>(&row, 0).map(|number| number.to_string()));
            assert_eq!(value.unwrap(), expected, "{pragma}");
        }
    }

    #[tokio::test]
    async fn many_may_open_a_new_database_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let openers: Vec<_> = (0..6)
            .map(|_| {
                let url = url(&directory);
                tokio::spawn(async move { Store::open(&url).await.map(drop) })
            })
            .collect();
        for opener in openers {
            opener.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn refused_urls() {
        for url in [
            "",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite://a.db?mode=memory",
            "postgres://a/b",
            "a.db",
        ] {
            let opened = Store::open(url).await;
            assert!(matches!(opened, Err(StoreError::Url(_))), "{url}: {opened:?}");
        }
    }

    #[tokio::test]
    async fn a_missing_directory_is_said() {
        let opened = Store::open("sqlite:///nowhere/at/all/wardgate.db").await;
        let said = opened.unwrap_err().to_string();
        assert!(said.starts_with("/nowhere/at/all/wardgate.db: ") && said.contains("make sure"), "{said}");
    }

    #[tokio::test]
    async fn another_kind_of_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("wardgate.db"), [b'x'; 4096]).unwrap();
        let opened = Store::open(&url(&directory)).await;
        assert!(matches!(opened, Err(StoreError::NotADatabase)), "{opened:?}");
    }

    #[tokio::test]
    async fn the_database_of_a_newer_version_is_refused() {
        let (directory, store) = store().await;
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', 1, x'00', 0)",
        )
        .execute(&store.pool)
        .await
        .unwrap();
        let opened = Store::open(&url(&directory)).await;
        assert!(matches!(opened, Err(StoreError::Newer)), "{opened:?}");
    }

    #[tokio::test]
    async fn a_database_that_another_program_keeps_to_itself_is_said() {
        let (directory, store) = store().await;
        store.close().await;
        let mut selfish = options(&url(&directory)).unwrap().connect().await.unwrap();
        sqlx::query("PRAGMA locking_mode = EXCLUSIVE").execute(&mut selfish).await.unwrap();
        sqlx::query("UPDATE revision SET number = 1").execute(&mut selfish).await.unwrap();
        let opened = Store::open(&url(&directory)).await;
        assert!(matches!(opened, Err(StoreError::Locked)), "{opened:?}");
    }

    #[tokio::test]
    async fn a_locked_database_is_said() {
        let (_directory, store) = store().await;
        let other = store.begin().await.unwrap();
        let mut impatient = store.pool.acquire().await.unwrap();
        sqlx::query("PRAGMA busy_timeout = 10").execute(&mut *impatient).await.unwrap();
        let refused = sqlx::query("DELETE FROM account").execute(&mut *impatient).await;
        let error: StoreError = refused.unwrap_err().into();
        assert!(matches!(error, StoreError::Locked), "{error:?}");
        drop(other);
    }
}
