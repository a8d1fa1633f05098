//! Jobs in Redis, where gearmand keeps them: a hash of `data` and `priority` for each.
//!
//! gearmand 1.1.20 does not start when such a hash has another field, so what
//! it has no place for stands in a hash of its own, outside of its prefix: a
//! `Note` for each job. Jobs that gearmand has written have none. A batch
//! that adds jobs is one transaction (MULTI, EXEC), and what it relies on is watched.
//!
//! What Redis has acknowledged is as safe as its own settings make it; see
//! [`Engine::warnings`].

mod keys;
mod place;

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::{
    Client, Connection, IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError, RedisResult, Value,
    from_redis_value, pipe,
};

use super::{BadRow, Engine, EngineError, Key, Row, level, priority_of};
use keys::{Names, Note};
use place::Places;

/// A server that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest value that Redis takes.
const DATA_BYTES_MAX: usize = 512 << 20;
/// Keys that SCAN looks at in one call.
const SCANNED_AT_ONCE: usize = 1000;
/// Jobs and bytes that are asked for in one call.
const READ_AT_ONCE: (usize, u64) = (1000, 4 << 20);
/// Arguments of one command; Redis takes a million.
const ARGUMENTS: usize = 4096;
/// How often a batch is tried when others change what it relies on.
const ATTEMPTS: usize = 16;

/// A Redis server with a queue of gearmand's, or of a gearshard.
pub struct Redis {
    client: Client,
    /// As a person would name it.
    address: String,
    names: Names,
    /// `None` after an error.
    connection: Option<Connection>,
    /// The sequence of the newest job that is known.
    sequence: u64,
    /// Notes that gearmand has made void, by key: they go with the next batch.
    void: Vec<KeyNote>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects to a server, with a password unless that is empty; the keys of
    /// jobs begin with `prefix`.
    ///
    /// # Errors
    /// When it cannot be reached or used.
    pub fn open(server: &str, port: u16, password: &str, prefix: &str) -> Result<Self, EngineError> {
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let settings = if password.is_empty() { settings } else { settings.set_password(password) };
        let address = format!("redis at {server}:{port}");
        let failed = |error| failed(&address, error);
        let info = (server, port).into_connection_info().map_err(failed)?.set_redis_settings(settings);
        let client = Client::open(info).map_err(failed)?;
        let names = Names::new(prefix);
        let mut redis = Self { client, address, names, connection: None, sequence: 0, void: Vec::new() };
        redis.connect()?;
        Ok(redis)
    }

    /// Runs commands; the connection is given up when that fails.
    fn query<T: ::redis::FromRedisValue>(&mut self, commands: &Pipeline) -> Result<T, EngineError> {
        if self.connection.is_none() {
            self.connect()?;
        }
        let connection = self.connection.as_mut().expect("it was made just above");
        commands.query(connection).map_err(|error| {
            // It may be watching keys, or wait for an answer.
            self.connection = None;
            let begun = commands.is_transaction() && error.code() != Some("EXECABORT");
            match failed(&self.address, error) {
                EngineError::Refused(what) if begun => EngineError::Lost(what),
                failed => failed,
            }
        })
    }

    /// The notes of these keys.
    fn notes(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Option<Note>>, EngineError> {
        let mut notes = Vec::with_capacity(keys.len());
        for some in keys.chunks(ARGUMENTS) {
            let mut asked = pipe();
            asked.cmd("HMGET").arg(&self.names.notes).arg(some);
            let (texts,): (Vec<Option<Vec<u8>>>,) = self.query(&asked)?;
            notes.extend(texts.into_iter().map(|text| text.as_deref().and_then(Note::read)));
        }
        Ok(notes)
    }

    /// Takes out and puts in what `places` say in one transaction; whether nobody interfered.
    fn write(&mut self, new: &[Row<'_>], places: &Places) -> Result<bool, EngineError> {
        let mut batch = pipe();
        if new.is_empty() {
            // A transaction is refused when memory is short, even one that frees some. What is
            // taken out is nobody else's to change, so nothing depends on what is watched.
            batch.cmd("UNWATCH");
        } else {
            batch.atomic();
        }
        // A key that is put may be a string of an old gearmand, or have fields that we do not write.
        let out: Vec<&Vec<u8>> = places.out.iter().chain(&places.put).collect();
        for some in out.chunks(ARGUMENTS) {
            batch.cmd("DEL").arg(some);
        }
        for some in places.out.chunks(ARGUMENTS) {
            batch.cmd("HDEL").arg(&self.names.notes).arg(some);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let mut sequence = self.sequence.max(u64::try_from(now).unwrap_or_default());
        for (rows, keys) in new.chunks(ARGUMENTS).zip(places.put.chunks(ARGUMENTS)) {
            for (row, key) in rows.iter().zip(keys) {
                batch.cmd("HMSET").arg(key).arg("data").arg(&row.data[..]);
                batch.arg("priority").arg(level(row.priority));
            }
            batch.cmd("HMSET").arg(&self.names.notes);
            for (row, key) in rows.iter().zip(keys) {
                sequence += 1;
                batch.arg(key).arg(Note::of(row, sequence).text());
            }
        }
        let done: Option<Vec<Value>> = self.query(&batch)?;
        self.sequence = sequence;
        Ok(done.is_some())
    }

    /// Takes out the notes that are void, unless somebody is at work on notes just now.
    fn forget_void(&mut self) -> Result<(), EngineError> {
        let some: Vec<_> = self.void.drain(..self.void.len().min(ARGUMENTS)).collect();
        if some.is_empty() {
            return Ok(());
        }
        let mut asked = pipe();
        asked.cmd("WATCH").arg(&self.names.notes).ignore();
        asked.cmd("HMGET").arg(&self.names.notes);
        for (key, _) in &some {
            asked.arg(key);
        }
        let (texts,): (Vec<Option<String>>,) = self.query(&asked)?;
        let mut batch = pipe();
        // Another job may have come under the same key since. No key is empty, but a list of none is an error.
        batch.atomic().cmd("HDEL").arg(&self.names.notes).arg("");
        for ((key, text), found) in some.iter().zip(texts) {
            if found.as_ref() == Some(text) {
                batch.arg(key);
            }
        }
        let done: Option<Vec<Value>> = self.query(&batch)?;
        if done.is_none() {
            self.void.extend(some);
        }
        Ok(())
    }

    /// Finds the notes of jobs that gearmand has taken out.
    fn find_void(&mut self) -> Result<(), EngineError> {
        let mut cursor = 0u64;
        loop {
            let mut asked = pipe();
            asked.cmd("HSCAN").arg(&self.names.notes).arg(cursor).arg("COUNT").arg(SCANNED_AT_ONCE);
            let ((next, notes),): ((u64, Vec<KeyNote>),) = self.query(&asked)?;
            if !notes.is_empty() {
                let mut asked = pipe();
                for (key, _) in &notes {
                    asked.cmd("EXISTS").arg(key);
                }
                let there: Vec<bool> = self.query(&asked)?;
                let gone = notes.into_iter().zip(there).filter(|(_, there)| !there);
                self.void.extend(gone.map(|(note, _)| note));
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// Every key of a job, the oldest first, with about how many bytes its data has.
    fn keys(&mut self) -> Result<Vec<(u64, Vec<u8>, u64)>, EngineError> {
        let (pattern, mut cursor, mut found) = (self.names.pattern(), 0u64, Vec::new());
        loop {
            let mut asked = pipe();
            asked.cmd("SCAN").arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCANNED_AT_ONCE);
            let ((next, keys),): ((u64, Vec<Vec<u8>>),) = self.query(&asked)?;
            if !keys.is_empty() {
                let notes = self.notes(&keys)?;
                let mut asked = pipe();
                for key in &keys {
                    asked.cmd("HSTRLEN").arg(key).arg("data");
                }
                let lengths: Vec<RedisResult<u64>> = self.query(asked.ignore_errors())?;
                // Of a string, the length is not known: it is asked for alone.
                let lengths = lengths.into_iter().map(|length| length.unwrap_or(READ_AT_ONCE.1));
                let sequences = notes.iter().map(|note| note.map_or(0, |note| note.sequence));
                found.extend(sequences.zip(keys).zip(lengths).map(|((sequence, key), n)| (sequence, key, n)));
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        // SCAN may name a key twice.
        found.sort_unstable();
        found.dedup_by(|one, other| one.1 == other.1);
        Ok(found)
    }

    /// Reads the jobs with these keys.
    fn read_some(
        &mut self,
        keys: &[Vec<u8>],
        each: &mut dyn FnMut(Result<Row<'static>, BadRow>),
    ) -> Result<(), EngineError> {
        if keys.is_empty() {
            return Ok(());
        }
        let notes = self.notes(keys)?;
        let mut asked = pipe();
        for key in keys {
            asked.cmd("HGETALL").arg(key);
        }
        let found: Vec<Value> = self.query(asked.ignore_errors())?;
        for ((key, note), found) in keys.iter().zip(notes).zip(found) {
            let fields = match found {
                Value::ServerError(_) => self.read_string(key)?,
                found => from_redis_value(found).map_err(|error| failed(&self.address, error.into()))?,
            };
            if fields.as_ref().is_some_and(HashMap::is_empty) {
                // Gone since SCAN named it.
                continue;
            }
            let row = self.row(key, note, fields);
            each(
                row.map_err(|what| BadRow { row: format!("key {}", key.escape_ascii()), what: what.into() }),
            );
        }
        Ok(())
    }

    /// A job as gearmand wrote it up to 1.1.15, in the shape in which it writes it since;
    /// `None` if this is none.
    fn read_string(&mut self, key: &[u8]) -> Result<Option<Fields>, EngineError> {
        let mut asked = pipe();
        asked.cmd("GET").arg(key);
        let (found,): (RedisResult<Option<Vec<u8>>>,) = self.query(asked.ignore_errors())?;
        Ok(match found {
            Ok(Some(data)) => {
                Some(HashMap::from([(b"data".to_vec(), data), (b"priority".to_vec(), b"1".to_vec())]))
            }
            Ok(None) => Some(HashMap::new()),
            Err(_) => None,
        })
    }

    fn row(
        &mut self,
        key: &[u8],
        note: Option<Note>,
        fields: Option<Fields>,
    ) -> Result<Row<'static>, &'static str> {
        let mut fields = fields.ok_or("it is neither a hash nor a string")?;
        let data = fields.remove(&b"data"[..]).ok_or("it has no field data")?;
        let priority = fields.get(&b"priority"[..]).ok_or("it has no field priority")?;
        let priority = std::str::from_utf8(priority).ok().and_then(|text| text.parse().ok());
        let priority = priority.and_then(priority_of).ok_or("its priority is not 0, 1 or 2")?;
        let noted = note.filter(|note| note.fits(&data));
        let noted = noted.and_then(|note| Some((note, self.names.noted(key, &note)?)));
        if let (Some(note), None) = (note, noted) {
            self.void.push((key.to_vec(), note.text()));
        }
        let not_before_s = noted.map_or(0, |(note, _)| note.not_before_s);
        let named = match (noted, fields.get(&b"function"[..]), fields.get(&b"unique"[..])) {
            (Some((note, named)), _, _) => {
                self.sequence = self.sequence.max(note.sequence);
                Some(named)
            }
            (None, Some(function), Some(unique)) => Some((&function[..], &unique[..])),
            _ => self.names.parse(key),
        };
        let (function, unique) = named.ok_or("its key does not have the form prefix-function-unique")?;
        let (function, key) = (function.to_vec().into(), unique.to_vec().into());
        Ok(Row { key, function, priority, data: data.into(), not_before_s })
    }
}

/// A key and its note, as text.
type KeyNote = (Vec<u8>, String);
/// The fields of a hash.
type Fields = HashMap<Vec<u8>, Vec<u8>>;

impl Engine for Redis {
    fn holds(&self, row: &Row<'_>) -> Result<(), &'static str> {
        if row.data.len() > DATA_BYTES_MAX {
            return Err("Redis takes at most 512 MiB of data");
        }
        Ok(())
    }

    fn apply(&mut self, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError> {
        self.forget_void()?;
        for _ in 0..ATTEMPTS {
            let places = self.places(new, gone)?;
            if self.write(new, &places)? {
                return Ok(());
            }
        }
        Err(EngineError::Lost(format!("{}: another program keeps changing the same keys", self.address)))
    }

    fn read(&mut self, each: &mut dyn FnMut(Result<Row<'static>, BadRow>)) -> Result<(), EngineError> {
        self.void.clear();
        let keys = self.keys()?;
        let noted = keys.iter().filter(|(sequence, ..)| *sequence > 0).count() as u64;
        let mut asked = pipe();
        asked.cmd("HLEN").arg(&self.names.notes);
        let (notes,): (u64,) = self.query(&asked)?;
        if notes > noted {
            self.find_void()?;
        }
        let (mut some, mut bytes) = (Vec::new(), 0);
        for (_, key, length) in keys {
            if some.len() == READ_AT_ONCE.0 || (bytes + length > READ_AT_ONCE.1 && !some.is_empty()) {
                self.read_some(&some, each)?;
                some.clear();
                bytes = 0;
            }
            some.push(key);
            bytes += length;
        }
        self.read_some(&some, each)
    }

    fn connect(&mut self) -> Result<(), EngineError> {
        self.connection = None;
        let connected = self.client.get_connection_with_timeout(PATIENCE).and_then(|mut connection| {
            connection.set_read_timeout(Some(PATIENCE))?;
            connection.set_write_timeout(Some(PATIENCE))?;
            // Without the password that it wants, a server lets anybody connect.
            ::redis::cmd("PING").exec(&mut connection)?;
            Ok(connection)
        });
        self.connection = Some(connected.map_err(|error| failed(&self.address, error))?);
        Ok(())
    }

    fn warnings(&mut self) -> Result<Vec<String>, EngineError> {
        let mut asked = pipe();
        for name in ["appendonly", "appendfsync", "maxmemory", "maxmemory-policy"] {
            asked.cmd("CONFIG").arg("GET").arg(name);
        }
        let answers: Vec<RedisResult<HashMap<String, String>>> = self.query(asked.ignore_errors())?;
        let mut settings = HashMap::new();
        for answer in answers {
            let Ok(answer) = answer else {
                let address = &self.address;
                return Ok(vec![format!(
                    "{address} does not say when it writes to its disk (CONFIG GET is forbidden): only with \
                     appendonly yes and appendfsync always are acknowledged jobs safe"
                )]);
            };
            settings.extend(answer);
        }
        Ok(weak_settings(&self.address, &settings))
    }
}

/// What Redis said. Only a refusal before the end of a transaction is known to have changed nothing.
fn failed(address: &str, error: RedisError) -> EngineError {
    let text = format!("{address}: {error}");
    let Some(errors) = error.into_server_errors() else { return EngineError::Lost(text) };
    // A server that is not ready, or that is no longer the one to write to.
    const PASSING: [&str; 6] = ["LOADING", "READONLY", "MASTERDOWN", "BUSY", "TRYAGAIN", "CLUSTERDOWN"];
    match errors.first() {
        Some((_, error)) if !PASSING.contains(&error.code()) => {
            let details = error.details().unwrap_or_default();
            EngineError::Refused(format!("{address}: {} {details}", error.code()))
        }
        _ => EngineError::Lost(text),
    }
}

fn weak_settings(address: &str, settings: &HashMap<String, String>) -> Vec<String> {
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|found| found == value);
    let mut weak = Vec::new();
    if !is("appendonly", "yes") {
        weak.push(format!(
            "{address} has appendonly off: jobs that were acknowledged are lost when it ends; set appendonly yes \
             and appendfsync always"
        ));
    } else if !is("appendfsync", "always") {
        let seen = settings.get("appendfsync").map_or("unknown", String::as_str);
        weak.push(format!(
            "{address} has appendfsync {seen}: jobs that were acknowledged just before a loss of power may be \
             lost; set appendfsync always"
        ));
    }
    if !is("maxmemory", "0") && !is("maxmemory-policy", "noeviction") {
        let seen = settings.get("maxmemory-policy").map_or("unknown", String::as_str);
        weak.push(format!(
            "{address} has maxmemory-policy {seen}: it may throw jobs away when it is short of memory; set \
             maxmemory-policy noeviction"
        ));
    }
    weak
}
