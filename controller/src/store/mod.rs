//! The durable rows: one table per kind, each row stored whole as JSON text.
//!
//! Owns the database file, its lock and every SQL statement. Knows nothing of what rows mean: decisions are made by
//! `roost-model`, and reads are served from memory, so this module only loads everything once and then commits changes.
//!
//! SQL here keeps to what SQLite and PostgreSQL share: `$n` parameters, text and 64-bit integers.

mod error;
mod lock;
mod sql;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use roost_model::{Change, Kind, Row};
use roost_types::Timestamp;
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Executor, Row as _};

pub use error::StoreError;
use lock::StateLock;

/// File name of the embedded database in the state directory.
pub const DATABASE_FILE: &str = "roost.db";
/// Events kept; older ones are removed.
pub const EVENTS_KEPT: i64 = 10_000;
/// Old events are removed once in so many new ones.
const EVENT_SWEEP_EVERY: u64 = 256;

/// The database of one controller.
pub struct Store {
    /// One writer connection: all writes and checkpoints go through it.
    pool: AnyPool,
    /// Held for as long as the store is open.
    _lock: StateLock,
}

impl Store {
    /// Opens (and makes, and migrates) the database in a state directory and takes its lock.
    ///
    /// # Errors
    /// When another controller uses the directory, or the database cannot be opened or migrated.
    pub async fn open(state: &Path) -> Result<Self, StoreError> {
        let lock = StateLock::take(state)?;
        sqlx::any::install_default_drivers();
        let pool = AnyPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(Duration::from_secs(30))
            .after_connect(|connection, _| {
                Box::pin(async move {
                    for pragma in sql::PRAGMAS {
                        connection.execute(*pragma).await?;
                    }
                    Ok(())
                })
            })
            .connect(&sql::sqlite_url(&state.join(DATABASE_FILE)))
            .await
            .map_err(|source| StoreError::Open { path: state.join(DATABASE_FILE), source })?;
        sqlx::migrate!("./migrations").run(&pool).await.map_err(StoreError::Migrate)?;
        Ok(Self { pool, _lock: lock })
    }

    /// Every row, kinds in the order of [`Kind::ALL`], keys rising.
    ///
    /// # Errors
    /// When the database cannot be read or holds a row that cannot be understood.
    pub async fn load(&self) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        for kind in Kind::ALL {
            let table = sql::table(kind);
            let found = sqlx::query(sql::select(kind))
                .fetch_all(&self.pool)
                .await
                .map_err(|source| StoreError::Read { table, source })?;
            for record in found {
                let body: String = record.try_get(0).map_err(|source| StoreError::Read { table, source })?;
                rows.push(Row::parse(kind, &body).map_err(|source| StoreError::BadRow { table, source })?);
            }
        }
        Ok(rows)
    }

    /// Makes changes durable, all or none. When this returns `Ok`, they survive a power cut.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room; otherwise the step that failed. Nothing is changed then.
    pub async fn commit(&self, changes: &[Change], now: Timestamp) -> Result<(), StoreError> {
        let plan = Plan::of(changes)?;
        let fail = StoreError::write;
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(fail)?;
        for (kind, rows) in &plan.puts {
            for chunk in sql::chunks(rows) {
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql::upsert(*kind, chunk.len())));
                for (key, body) in chunk {
                    query = match kind {
                        Kind::Event => query.bind(key.parse::<i64>().unwrap_or_default()),
                        _ => query.bind(key.as_str()),
                    };
                    query = query.bind(body.as_str()).bind(now.0);
                }
                query.execute(&mut *tx).await.map_err(fail)?;
            }
        }
        for (kind, key) in &plan.deletes {
            let query = sqlx::query(sql::delete(*kind));
            let query = match kind {
                Kind::Event => query.bind(key.parse::<i64>().unwrap_or_default()),
                _ => query.bind(key.as_str()),
            };
            query.execute(&mut *tx).await.map_err(fail)?;
        }
        if let Some(newest) = plan.sweep_events_before {
            sqlx::query(sql::SWEEP_EVENTS).bind(newest).execute(&mut *tx).await.map_err(fail)?;
        }
        tx.commit().await.map_err(fail)
    }

    /// Version of the SQLite library in use.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn sqlite_version(&self) -> Result<String, StoreError> {
        let row = sqlx::query("SELECT sqlite_version()").fetch_one(&self.pool).await.map_err(StoreError::write)?;
        row.try_get(0).map_err(StoreError::write)
    }

    /// A second handle on the connection, for tests that make trouble behind the store's back.
    #[cfg(test)]
    pub fn pool(&self) -> AnyPool {
        self.pool.clone()
    }

    /// Closes the connection after what is under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// The last word on every key: a row that changed five times in a batch is written once.
struct Plan {
    /// Key and body of each row to store, by kind.
    puts: BTreeMap<Kind, Vec<(String, String)>>,
    /// Rows to remove.
    deletes: Vec<(Kind, String)>,
    /// Remove events with a smaller or equal number.
    sweep_events_before: Option<i64>,
}

impl Plan {
    fn of(changes: &[Change]) -> Result<Self, StoreError> {
        let mut last: BTreeMap<(Kind, String), Option<&Row>> = BTreeMap::new();
        let mut sweep_events_before = None;
        for change in changes {
            match change {
                Change::Put(row) => {
                    if let Row::Event(event) = row
                        && event.id % EVENT_SWEEP_EVERY == 0
                    {
                        sweep_events_before = Some(i64::try_from(event.id).unwrap_or(i64::MAX) - EVENTS_KEPT);
                    }
                    last.insert((row.kind(), row.key()), Some(row));
                }
                Change::Delete(kind, key) => {
                    last.insert((*kind, key.clone()), None);
                }
            }
        }
        let mut plan = Self { puts: BTreeMap::new(), deletes: Vec::new(), sweep_events_before };
        for ((kind, key), row) in last {
            match row {
                Some(row) => {
                    let body = row.body().map_err(|source| StoreError::BadRow { table: sql::table(kind), source })?;
                    plan.puts.entry(kind).or_default().push((key, body));
                }
                None => plan.deletes.push((kind, key)),
            }
        }
        Ok(plan)
    }
}

/// Lets the database grow no further.
#[cfg(test)]
pub async fn fill(pool: &AnyPool) {
    let row = sqlx::query("PRAGMA page_count").fetch_one(pool).await.expect("the database answers");
    let pages: i64 = row.try_get(0).expect("a count is a number");
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::query(limit).fetch_all(pool).await.expect("the limit is taken");
}

#[cfg(test)]
mod tests;
