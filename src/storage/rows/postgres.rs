//! Jobs in a table of PostgreSQL.
//!
//! A call is one transaction, and nearly always one statement, whatever the
//! number of rows. The rows are read in the order in which they lie in the
//! table: that in which they were written, but for those that the server has
//! put where others were deleted.
//!
//! Bytes go to and fro as they are: what is no text in the database's encoding
//! is refused, nothing is converted.

use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use hashbrown::HashSet;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Statement};

use super::table::{Columns, Limits, Text, quoted};
use super::{BadRow, Engine, EngineError, Key, Row, level};
use value::{Bytes, BytesOrNull};

mod value;

/// How long the server may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the server may work on a statement.
const STATEMENT_S: usize = 8;
/// How long we wait beyond that: who does not answer then is not there.
const GRACE: Duration = Duration::from_secs(2);
/// What goes into one statement, about.
const STATEMENT_BYTES: usize = 4 << 20;
const STATEMENT_ROWS: usize = 8192;
/// The server takes messages and values below 1 GiB.
const DATA_BYTES_MAX: usize = (1 << 30) - (1 << 20);

/// A table of PostgreSQL, and the connection to it.
#[derive(Debug)]
pub struct Postgres {
    config: Config,
    /// With its quotes.
    table: String,
    limits: Limits,
    session: Option<Session>,
    /// Drives the connection while a call waits for it.
    runtime: Runtime,
}

impl Postgres {
    /// Connects as libpq's `conninfo` says (`host=... dbname=...` or
    /// `postgresql://...`), and makes `table` if it is not there.
    ///
    /// What `conninfo` leaves open is taken from `PGHOST`, `PGPORT`, `PGUSER`,
    /// `PGPASSWORD` and `PGDATABASE`; the host is the socket of the same
    /// machine otherwise, as for libpq.
    ///
    /// # Errors
    /// When the server cannot be reached, or the table not be used.
    pub fn open(conninfo: &str, table: &str) -> Result<Self, EngineError> {
        let config = configuration(conninfo, |name| std::env::var(name).ok())?;
        let table = quoted(table, '"', str::to_ascii_lowercase)?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| EngineError::Refused(format!("cannot use PostgreSQL: {error}")))?;
        let text = Text { length_max: 0, utf8: true, nul: false };
        let limits = Limits { key: text, function: text, when_max: 0, data_bytes_max: DATA_BYTES_MAX };
        let mut engine = Self { config, table, limits, session: None, runtime };
        engine.connect()?;
        Ok(engine)
    }

    /// Forgets the connection when it has failed.
    fn judged<T>(&mut self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        if let Err(EngineError::Lost(_)) = result {
            self.session = None;
        }
        result
    }
}

impl Engine for Postgres {
    fn holds(&self, row: &Row<'_>) -> Result<(), &'static str> {
        self.limits.hold(row)
    }

    fn apply(&mut self, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError> {
        let Some(session) = &self.session else { return Err(not_connected()) };
        let result = self.runtime.block_on(session.apply(new, gone));
        self.judged(result)
    }

    fn read(&mut self, each: &mut dyn FnMut(Result<Row<'static>, BadRow>)) -> Result<(), EngineError> {
        let Some(session) = &self.session else { return Err(not_connected()) };
        let result = self.runtime.block_on(session.read(&self.table, each));
        self.judged(result)
    }

    fn connect(&mut self) -> Result<(), EngineError> {
        self.session = None;
        let (session, limits) = self.runtime.block_on(Session::start(&self.config, &self.table))?;
        self.session = Some(session);
        self.limits = limits;
        Ok(())
    }
}

fn not_connected() -> EngineError {
    EngineError::Lost("PostgreSQL: not connected".to_owned())
}

/// What `conninfo` means, with libpq's defaults from the environment.
fn configuration(conninfo: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Config, EngineError> {
    let wrong = |what: String| EngineError::Refused(format!("--libpq-conninfo: {what}"));
    let mut config: Config = conninfo.parse().map_err(|error| wrong(chain(&error)))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        match variable("PGHOST") {
            Some(host) => config.host(host),
            None => config.host_path("/var/run/postgresql"),
        };
    }
    if config.get_ports().is_empty()
        && let Some(port) = variable("PGPORT")
    {
        config.port(port.parse().map_err(|_| wrong(format!("PGPORT is {port:?}, no port")))?);
    }
    if config.get_user().is_none()
        && let Some(user) = variable("PGUSER")
    {
        config.user(user);
    }
    if config.get_password().is_none()
        && let Some(password) = variable("PGPASSWORD")
    {
        config.password(password);
    }
    if config.get_dbname().is_none()
        && let Some(name) = variable("PGDATABASE")
    {
        config.dbname(name);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_application_name().is_none() {
        config.application_name("gearshard");
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(STATEMENT_S as u64));
    }
    Ok(config)
}

/// A connection that has been let in and has found its table.
#[derive(Debug)]
struct Session {
    client: Client,
    driver: JoinHandle<()>,
    /// Deletes and inserts rows; see [`write_sql`].
    write: Statement,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Session {
    async fn start(config: &Config, table: &str) -> Result<(Self, Limits), EngineError> {
        let (client, connection) = within(STATEMENT_S, config.connect(NoTls)).await?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer hears of the error; nobody else is concerned.
            let _told_there = connection.await;
        });
        // From here on the driver ends with it.
        let aborted = AbortOnDrop(Some(driver));
        within(STATEMENT_S, client.batch_execute(&settings_sql())).await?;
        let limits = match find(&client, table).await? {
            Some(limits) => limits,
            None => make(&client, table).await?,
        };
        let write = within(STATEMENT_S, client.prepare_typed(&write_sql(table), &WRITE_TYPES)).await?;
        let session = Self { client, driver: aborted.keep(), write };
        // Shows at once what the table or the rights on it do not allow.
        session.write(STATEMENT_S, &[], &[]).await.map_err(|error| unusable(table, error))?;
        Ok((session, limits))
    }

    async fn apply(&self, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError> {
        let gone = without_new(new, gone);
        let bytes = new.iter().map(|row| row.data.len()).sum::<usize>();
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        if bytes <= STATEMENT_BYTES && new.len() <= STATEMENT_ROWS && gone.len() <= STATEMENT_ROWS {
            return self.write(STATEMENT_S, new, &gone).await;
        }
        // A statement that is large by itself may take its time.
        let seconds = STATEMENT_S + (bytes >> 20);
        let begin = format!("BEGIN; SET LOCAL statement_timeout = '{seconds}s'");
        within(STATEMENT_S, self.client.batch_execute(&begin)).await?;
        match self.write_parts(seconds, new, &gone).await {
            Ok(()) => within(seconds, self.client.batch_execute("COMMIT")).await,
            Err(EngineError::Lost(what)) => Err(EngineError::Lost(what)),
            Err(refused) => {
                within(STATEMENT_S, self.client.batch_execute("ROLLBACK")).await?;
                Err(refused)
            }
        }
    }

    async fn write_parts(&self, seconds: usize, new: &[Row<'_>], gone: &[&Key]) -> Result<(), EngineError> {
        for part in gone.chunks(STATEMENT_ROWS) {
            self.write(seconds, &[], part).await?;
        }
        let mut rest = new;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |row: &&Row<'_>| {
                bytes += row.data.len();
                bytes <= STATEMENT_BYTES
            };
            let count = rest.iter().take(STATEMENT_ROWS).take_while(fits).count().max(1);
            let (part, after) = rest.split_at(count);
            self.write(seconds, part, &[]).await?;
            rest = after;
        }
        Ok(())
    }

    /// No key of `gone` may be in `new`: one statement does not see what it has deleted itself.
    async fn write(&self, seconds: usize, new: &[Row<'_>], gone: &[&Key]) -> Result<(), EngineError> {
        let gone_keys: Vec<_> = gone.iter().map(|gone| Bytes(&gone.key)).collect();
        let gone_functions: Vec<_> = gone.iter().map(|gone| Bytes(&gone.function)).collect();
        let keys: Vec<_> = new.iter().map(|row| Bytes(&row.key)).collect();
        let functions: Vec<_> = new.iter().map(|row| Bytes(&row.function)).collect();
        let levels: Vec<_> = new.iter().map(|row| i32::from(level(row.priority))).collect();
        let data: Vec<_> = new.iter().map(|row| Bytes(&row.data)).collect();
        // `holds` has refused what is later.
        let times: Vec<_> =
            new.iter().map(|row| i64::try_from(row.not_before_s).unwrap_or(i64::MAX)).collect();
        let values: [&(dyn ToSql + Sync); 7] =
            [&gone_keys, &gone_functions, &keys, &functions, &levels, &data, &times];
        within(seconds, self.client.execute(&self.write, &values)).await.map(drop)
    }

    async fn read(
        &self,
        table: &str,
        each: &mut dyn FnMut(Result<Row<'static>, BadRow>),
    ) -> Result<(), EngineError> {
        let select = format!(
            "SELECT unique_key, function_name, priority::bigint, data, when_to_run::bigint FROM {table}"
        );
        // All of it may take longer than any one statement should.
        within(STATEMENT_S, self.client.batch_execute("SET statement_timeout = 0")).await?;
        let none: [&i64; 0] = [];
        let rows = within(STATEMENT_S, self.client.query_raw(&select, none)).await?;
        let mut rows = pin!(rows);
        while let Some(row) = within(STATEMENT_S, rows.try_next()).await? {
            each(columns(&row).map_err(|error| told(&error))?.into_row());
        }
        let limit = format!("SET statement_timeout = '{STATEMENT_S}s'");
        within(STATEMENT_S, self.client.batch_execute(&limit)).await
    }
}

/// A task that ends with its owner until it is taken out.
struct AbortOnDrop(Option<JoinHandle<()>>);

impl AbortOnDrop {
    fn keep(mut self) -> JoinHandle<()> {
        self.0.take().expect("it is taken out once")
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

fn columns(row: &tokio_postgres::Row) -> Result<Columns, Error> {
    let bytes = |index| row.try_get::<_, BytesOrNull<'_>>(index).map(BytesOrNull::into_vec);
    Ok(Columns {
        key: bytes(0)?,
        function: bytes(1)?,
        priority: row.try_get(2)?,
        data: bytes(3)?,
        when_to_run: row.try_get(4)?,
    })
}

/// Keys that go and do not come back at once.
fn without_new<'a>(new: &[Row<'_>], gone: &'a [Key]) -> Vec<&'a Key> {
    if new.is_empty() {
        return gone.iter().collect();
    }
    let new: HashSet<(&[u8], &[u8])> = new.iter().map(|row| (&*row.key, &*row.function)).collect();
    gone.iter().filter(|gone| !new.contains(&(&*gone.key, &*gone.function))).collect()
}

/// Settings of the session, as far as the server knows them.
///
/// Plans are made anew for every call: one that was made for an empty table
/// would read all of a long one. Nothing but single rows is looked for, so
/// neither hashing nor sorting the table is ever right. The table is read from
/// its beginning even if somebody else is just reading it.
fn settings_sql() -> String {
    format!(
        "SELECT set_config(s.name, v.value, false) FROM (VALUES \
         ('client_encoding', 'SQL_ASCII'), ('statement_timeout', '{STATEMENT_S}s'), ('lock_timeout', '3s'), \
         ('idle_in_transaction_session_timeout', '60s'), ('plan_cache_mode', 'force_custom_plan'), \
         ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('synchronize_seqscans', 'off'), \
         ('default_transaction_read_only', 'off'), ('default_transaction_isolation', 'read committed')\
         ) AS v(name, value) JOIN pg_settings AS s ON s.name = v.name"
    )
}

const WRITE_TYPES: [Type; 7] = [
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::BYTEA_ARRAY,
    Type::INT8_ARRAY,
];

fn write_sql(table: &str) -> String {
    format!(
        "WITH gone AS (DELETE FROM {table} AS t USING unnest($1::text[], $2::text[]) AS g(k, f) \
         WHERE t.unique_key = g.k AND t.function_name = g.f) \
         INSERT INTO {table} (unique_key, function_name, priority, data, when_to_run) \
         SELECT * FROM unnest($3::text[], $4::text[], $5::integer[], $6::bytea[], $7::bigint[]) \
         ON CONFLICT (unique_key, function_name) DO UPDATE \
         SET priority = excluded.priority, data = excluded.data, when_to_run = excluded.when_to_run"
    )
}

/// What the table keeps, if it is there.
async fn find(client: &Client, table: &str) -> Result<Option<Limits>, EngineError> {
    let sql = "SELECT attname::text, atttypid, atttypmod, current_setting('server_encoding') FROM pg_attribute \
               WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    let found = async {
        let statement = client.prepare_typed(sql, &[Type::TEXT]).await?;
        client.query(&statement, &[&table]).await
    };
    let rows = within(STATEMENT_S, found).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let encoding: String = first.try_get(3).map_err(|error| told(&error))?;
    let mut columns = Vec::with_capacity(rows.len());
    for row in &rows {
        let type_oid: u32 = row.try_get(1).map_err(|error| told(&error))?;
        let modifier: i32 = row.try_get(2).map_err(|error| told(&error))?;
        let name: String = row.try_get(0).map_err(|error| told(&error))?;
        columns.push((name, Type::from_oid(type_oid), modifier));
    }
    if !columns.iter().any(|(name, ..)| name == "when_to_run") {
        // A table from before jobs had times.
        let add = format!("ALTER TABLE {table} ADD COLUMN when_to_run BIGINT");
        within(STATEMENT_S, client.batch_execute(&add)).await?;
        columns.push(("when_to_run".to_owned(), Some(Type::INT8), -1));
    }
    let column = |name: &str| {
        let found = columns.iter().find(|(column, ..)| column == name);
        found.map(|(_, kind, modifier)| (kind.clone(), *modifier)).ok_or_else(|| {
            EngineError::Refused(format!("PostgreSQL: the table {table} is there and has no column {name}"))
        })
    };
    let wrong = |name: &str, wanted: &str| {
        EngineError::Refused(format!("PostgreSQL: the column {name} of the table {table} is no {wanted}"))
    };
    let text = |name: &str| match column(name)? {
        // The modifier counts its own four bytes.
        (Some(Type::VARCHAR), modifier) if modifier >= 4 => Ok((modifier - 4) as usize),
        (Some(Type::VARCHAR | Type::TEXT), _) => Ok(usize::MAX),
        _ => Err(wrong(name, "VARCHAR")),
    };
    let integer_max = |name: &str| match column(name)?.0 {
        Some(Type::INT8) => Ok(i64::MAX as u64),
        Some(Type::INT4) => Ok(i32::MAX as u64),
        Some(Type::INT2) => Ok(i16::MAX as u64),
        _ => Err(wrong(name, "INTEGER")),
    };
    integer_max("priority")?;
    if column("data")?.0 != Some(Type::BYTEA) {
        return Err(wrong("data", "BYTEA"));
    }
    let text = |name: &str| Ok(Text { length_max: text(name)?, utf8: encoding == "UTF8", nul: false });
    Ok(Some(Limits {
        key: text("unique_key")?,
        function: text("function_name")?,
        when_max: integer_max("when_to_run")?,
        data_bytes_max: DATA_BYTES_MAX,
    }))
}

/// Makes the table as gearmand does, but for times after 2038, which gearmand can use as well.
async fn make(client: &Client, table: &str) -> Result<Limits, EngineError> {
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {table} (unique_key VARCHAR(64), function_name VARCHAR(255), \
         priority INTEGER, data BYTEA, when_to_run BIGINT, UNIQUE (unique_key, function_name))"
    );
    let made = within(STATEMENT_S, client.batch_execute(&create)).await;
    // Two that make it at the same moment get in each other's way, whatever the statement says.
    match (find(client, table).await?, made) {
        (Some(limits), _) => Ok(limits),
        (None, made) => Err(made.err().unwrap_or_else(not_connected)),
    }
}

/// What a failed first use of the table means.
fn unusable(table: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::Refused(what) if what.ends_with(SqlState::INVALID_COLUMN_REFERENCE.code()) => {
            EngineError::Refused(format!(
                "PostgreSQL: the table {table} lets a job be in it twice; \
                 ALTER TABLE {table} ADD UNIQUE (unique_key, function_name)"
            ))
        }
        other => other,
    }
}

/// Waits for an answer of the server, which has `seconds` for its work.
async fn within<T>(seconds: usize, answer: impl Future<Output = Result<T, Error>>) -> Result<T, EngineError> {
    let limit = Duration::from_secs(seconds as u64) + GRACE;
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|error| told(&error)),
        Err(_) => Err(EngineError::Lost(format!("PostgreSQL has not answered for {} s", limit.as_secs()))),
    }
}

fn told(error: &Error) -> EngineError {
    let Some(answer) = error.as_db_error() else {
        return EngineError::Lost(format!("PostgreSQL: {}", chain(&error)));
    };
    let code = answer.code();
    let detail = answer.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let what = format!("PostgreSQL: {}{detail}: {}", answer.message(), code.code());
    if passes_by(code) { EngineError::Lost(what) } else { EngineError::Refused(what) }
}

/// Whether the same statement may succeed later: the server stops, starts, is
/// a stand-by, has too many connections, is out of memory, or somebody else
/// holds the table.
fn passes_by(code: &SqlState) -> bool {
    const OURS: [SqlState; 12] = [
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::OUT_OF_MEMORY,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::QUERY_CANCELED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        SqlState::CONNECTION_FAILURE,
    ];
    OURS.contains(code) || code.code().starts_with("08")
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
