//! Jobs in memcached, where gearmand keeps them: an item for each.
//!
//! The key is `<prefix><function>-<unique>`, the flags are the priority, the
//! value is the workload. gearmand takes the function to end at the first
//! hyphen; where a function has one, it stands in the key as `%2D`, and a
//! percent sign as `%25`, so that no two jobs have the same key. What a key
//! cannot have, spaces and control characters, is written likewise.
//!
//! memcached forgets everything when it ends and the oldest items when it is
//! full: this outlives an end of the server, not one of memcached.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use memcache::exp::{Delete, Error, Get, GetStatus, MAX_KEY_LENGTH, MetaClient, Set};

use super::{BadRow, Engine, EngineError, Key, Row, level, priority_of};

/// A server that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Commands that are sent before their answers are read.
const COMMANDS_AT_ONCE: usize = 1000;
/// Bytes of items that are asked for at once.
const READ_BYTES: u64 = 4 << 20;
/// The longest line of a list of keys: all of a key's bytes may be escaped.
const LINE_BYTES_MAX: usize = 4096;
const PORT: u16 = 11211;

/// A memcached server with a queue of gearmand's.
pub struct Memcached {
    server: String,
    client: MetaClient,
    prefix: Vec<u8>,
}

impl std::fmt::Debug for Memcached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memcached").field("server", &self.server).finish_non_exhaustive()
    }
}

/// An item as the list of all keys has it.
struct Item {
    /// Grows with every change of any item.
    changed: u64,
    key: Vec<u8>,
    bytes: u64,
}

impl Memcached {
    /// Connects to the server that libmemcached's list names; keys begin with `prefix`.
    ///
    /// # Errors
    /// When it cannot be reached or used, or when there are several.
    pub fn open(servers: &str, prefix: &str) -> Result<Self, EngineError> {
        let server = one_server(servers).map_err(EngineError::Refused)?;
        let client = connect(&server)?;
        Ok(Self { client, prefix: prefix.into(), server })
    }

    fn key(&self, function: &[u8], unique: &[u8]) -> Vec<u8> {
        let mut key = self.prefix.clone();
        push_escaped(&mut key, function, |byte| byte == b'-' || byte == b'%' || is_blank(byte));
        key.push(b'-');
        // gearmand writes a percent sign as it is, and so do we where we can.
        let blanks = unique.iter().copied().any(is_blank);
        push_escaped(&mut key, unique, |byte| blanks && (byte == b'%' || is_blank(byte)));
        key
    }

    /// Ours, and gearmand's where that is another one.
    fn keys(&self, function: &[u8], unique: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let theirs = [&self.prefix, function, b"-", unique].concat();
        let named = self.parse(&theirs);
        let same = named.is_some_and(|(named, rest)| named == function && rest == unique);
        let ours = self.key(function, unique);
        let other = (same && theirs != ours).then_some(theirs);
        [Some(ours), other].into_iter().flatten()
    }

    /// The function and the unique of a job with this key.
    fn parse(&self, key: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let name = key.strip_prefix(&self.prefix[..])?;
        let hyphen = name.iter().position(|&byte| byte == b'-')?;
        let function = &name[..hyphen];
        // gearmand writes a percent sign as it is.
        let is_ours = |byte: &u8| *byte == b'-' || *byte == b'%' || is_blank(*byte);
        let ours = unescape(function).filter(|function| function.iter().any(is_ours));
        let function = ours.unwrap_or_else(|| function.to_vec());
        let unique = &name[hyphen + 1..];
        let ours = unescape(unique).filter(|unique| unique.iter().copied().any(is_blank));
        Some((function, ours.unwrap_or_else(|| unique.to_vec())))
    }

    /// What the server said, and whether it was the job's fault.
    fn failed(&self, error: &Error) -> EngineError {
        let text = format!("memcached at {}: {error}", self.server);
        // What is known to be answered is not doubtful, whatever came of the rest.
        let error = if let Error::Ambiguous { source, .. } = error { source } else { error };
        match error {
            Error::Rejected(_) | Error::Usage(_) => EngineError::Refused(text),
            Error::Server(what) if what.contains("too large") || what.contains("out of memory") => {
                EngineError::Refused(text)
            }
            _ => EngineError::Lost(text),
        }
    }

    /// Every item of the queue, the oldest first.
    fn items(&self) -> Result<Vec<Item>, EngineError> {
        let lost =
            |error: std::io::Error| EngineError::Lost(format!("memcached at {}: {error}", self.server));
        let mut stream = connect_stream(&self.server).map_err(lost)?;
        stream.write_all(b"lru_crawler metadump all\r\n").map_err(lost)?;
        let mut reader = BufReader::new(stream);
        let (mut items, mut line) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            read_line(&mut reader, &mut line).map_err(lost)?;
            if line == b"END" {
                break;
            }
            let Some(item) = read_item(&line) else {
                let said = String::from_utf8_lossy(&line);
                let text = format!("memcached at {} does not list its keys: {said}", self.server);
                // BUSY: it lists them for somebody else.
                let passes = said.starts_with("BUSY");
                return Err(if passes { EngineError::Lost(text) } else { EngineError::Refused(text) });
            };
            if item.key.starts_with(&self.prefix) {
                items.push(item);
            }
        }
        items.sort_unstable_by_key(|item| item.changed);
        Ok(items)
    }

    fn read_some(
        &self,
        keys: &[Vec<u8>],
        each: &mut dyn FnMut(Result<Row<'static>, BadRow>),
    ) -> Result<(), EngineError> {
        let found = self.client.run_many(keys.iter().map(Get::new)).map_err(|error| self.failed(&error))?;
        for (key, found) in keys.iter().zip(found) {
            let found = found.map_err(|error| self.failed(&error))?;
            if found.status == GetStatus::Miss {
                continue;
            }
            let bad =
                |what: &str| BadRow { row: format!("key {}", key.escape_ascii()), what: what.to_owned() };
            let priority = priority_of(found.client_flags.unwrap_or(0).into());
            each(match (self.parse(key), priority) {
                (None, _) => Err(bad("it does not have the form prefix, function, hyphen, unique")),
                (_, None) => Err(bad("its flags are not a priority: 0, 1 or 2")),
                (Some((function, unique)), Some(priority)) => Ok(Row {
                    key: unique.into(),
                    function: function.into(),
                    priority,
                    data: found.value.unwrap_or_default().into(),
                    not_before_s: 0,
                }),
            });
        }
        Ok(())
    }
}

impl Engine for Memcached {
    fn holds(&self, row: &Row<'_>) -> Result<(), &'static str> {
        if row.not_before_s > 0 {
            return Err("The durable queue, memcached, cannot keep times");
        }
        let key = self.key(&row.function, &row.key);
        if key.len() > MAX_KEY_LENGTH {
            return Err("Function and unique are longer than memcached's keys, 250 bytes");
        }
        if key.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
            return Err(
                "Function or unique have a space or a control character, which memcached's keys cannot",
            );
        }
        Ok(())
    }

    fn apply(&mut self, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError> {
        let keys: Vec<Vec<u8>> = gone.iter().flat_map(|key| self.keys(&key.function, &key.key)).collect();
        let set = |row: &Row<'_>| {
            let key = self.key(&row.function, &row.key);
            Set::new(key, &row.data).client_flags(level(row.priority).into())
        };
        for some in keys.chunks(COMMANDS_AT_ONCE) {
            let done =
                self.client.run_many(some.iter().map(Delete::new)).map_err(|error| self.failed(&error))?;
            done.into_iter().try_for_each(|done| done.map(drop).map_err(|error| self.failed(&error)))?;
        }
        for some in new.chunks(COMMANDS_AT_ONCE) {
            let done = self.client.run_many(some.iter().map(set)).map_err(|error| self.failed(&error))?;
            for done in done {
                if !done.map_err(|error| self.failed(&error))?.applied() {
                    return Err(EngineError::Lost(format!(
                        "memcached at {} did not store a job",
                        self.server
                    )));
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, each: &mut dyn FnMut(Result<Row<'static>, BadRow>)) -> Result<(), EngineError> {
        let (mut some, mut bytes) = (Vec::new(), 0);
        for item in self.items()? {
            if some.len() == COMMANDS_AT_ONCE || (bytes + item.bytes > READ_BYTES && !some.is_empty()) {
                self.read_some(&some, each)?;
                some.clear();
                bytes = 0;
            }
            some.push(item.key);
            bytes += item.bytes;
        }
        self.read_some(&some, each)
    }

    fn connect(&mut self) -> Result<(), EngineError> {
        self.client = connect(&self.server)?;
        Ok(())
    }

    fn warnings(&mut self) -> Result<Vec<String>, EngineError> {
        Ok(vec![format!(
            "memcached at {} keeps jobs in memory: they are gone when it ends, and the oldest when it is full; \
             `gearshard import` brings them into a log",
            self.server
        )])
    }
}

fn connect(server: &str) -> Result<MetaClient, EngineError> {
    let builder = MetaClient::builder().connect_timeout(Some(PATIENCE)).io_timeout(Some(PATIENCE));
    let client = builder.connect(server).and_then(|client| client.noop().map(|()| client));
    client.map_err(|error| EngineError::Lost(format!("memcached at {server}: {error}")))
}

fn connect_stream(server: &str) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// libmemcached's list, which must be of one server; its host and port.
fn one_server(servers: &str) -> Result<String, String> {
    let mut named = servers.split(',').map(str::trim).filter(|server| !server.is_empty());
    let server = match (named.next(), named.next()) {
        (Some(server), None) => server,
        (None, _) => {
            return Err("--libmemcached-servers needs HOST:PORT, the server to keep jobs in".to_owned());
        }
        _ => {
            let text = "--libmemcached-servers takes one server; import from several one by one, or choose \
                        another --queue-type";
            return Err(text.to_owned());
        }
    };
    // Behind the slash stands its weight among others.
    let server = server.split("/?").next().unwrap_or(server);
    Ok(if server.contains(':') { server.to_owned() } else { format!("{server}:{PORT}") })
}

/// A line without its end.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<()> {
    std::io::Read::take(&mut *reader, LINE_BYTES_MAX as u64).read_until(b'\n', line)?;
    if line.pop() != Some(b'\n') {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(())
}

/// Reads `key=<escaped> exp=-1 la=<time> cas=<n> fetch=no cls=1 size=<bytes>`.
fn read_item(line: &[u8]) -> Option<Item> {
    let fields = std::str::from_utf8(line).ok()?;
    let field = |name: &str| {
        fields.split(' ').find_map(|field| field.strip_prefix(name)).and_then(|field| field.strip_prefix('='))
    };
    let key = unescape(field("key")?.as_bytes())?;
    Some(Item { changed: field("cas")?.parse().ok()?, key, bytes: field("size")?.parse().ok()? })
}

/// Whether no key has such a byte.
const fn is_blank(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f
}

fn push_escaped(key: &mut Vec<u8>, part: &[u8], escaped: impl Fn(u8) -> bool) {
    for &byte in part {
        if escaped(byte) {
            key.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            key.push(byte);
        }
    }
}

/// Undoes percent escapes; `None` when some are none.
fn unescape(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        rest = behind;
        let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
        plain.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_is_taken_and_several_are_told() {
        let cases = [
            ("10.0.0.1", "10.0.0.1:11211"),
            ("host:123", "host:123"),
            ("host:123/?5,", "host:123"),
            (" host ", "host:11211"),
        ];
        for (servers, server) in cases {
            assert_eq!(one_server(servers).as_deref(), Ok(server));
        }
        assert!(one_server("").is_err() && one_server("a,b").is_err());
    }

    #[test]
    fn items_are_read_from_lines_and_nothing_else_is() {
        let line = b"key=gear_fun%2Da exp=-1 la=1795302985 cas=7 fetch=no cls=1 size=80";
        let item = read_item(line).unwrap();
        assert_eq!((&item.key[..], item.changed, item.bytes), (&b"gear_fun-a"[..], 7, 80));
        for line in
            ["", "BUSY currently processing crawler request", "key=a%2 cas=1 size=1", "key=a cas=x size=1"]
        {
            assert!(read_item(line.as_bytes()).is_none(), "{line}");
        }
        assert_eq!(unescape(b"%41%zz"), None);
        assert_eq!(unescape(b"%+1"), None);
    }
}
