//! Which servers are meant: those of the environment, and the one of the command line.

use std::env;
use std::io;
use std::time::Duration;

use super::super::hosts;
use super::options::Options;
use super::trouble::Trouble;
use crate::client::socket::Socket;
use crate::client::{PORT, SERVERS_VARIABLE, ServerAddress};
use crate::protocol::number::atoi;

/// The servers for `gearman` alone, which take the place of `-h` and `-p`.
const OWN_VARIABLE: &str = "GEARMAN_SERVER";
/// Where connecting ends without `-t`: about when the kernel gives up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(130);

/// A server's address, as it is written in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
}

/// An address that leads nowhere, and where it was named.
#[derive(Debug)]
pub(super) struct BadServer {
    pub(super) trouble: Trouble,
    /// It stands in `GEARMAN_SERVER`.
    pub(super) in_own_variable: bool,
}

impl Place {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers there, or not in time.
    pub(super) fn connect(&self, options: &Options) -> Result<Socket, Trouble> {
        let address = ServerAddress::Tcp { host: self.host.clone(), port: self.port };
        let timeout = options.timeout.filter(|timeout| !timeout.is_zero());
        Socket::connect(&address, timeout.unwrap_or(CONNECT_TIMEOUT)).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut if timeout.is_some() => {
                Trouble::Timeout { servers: 1, worker: options.worker }
            }
            _ => Trouble::Unreachable { host: self.host.clone(), port: self.port },
        })
    }
}

/// The servers in the order in which they are tried: the last that was named is the first.
///
/// As the original: `GEARMAN_SERVERS` is added to whatever else is named, and
/// `GEARMAN_SERVER` takes the place of `-h` and `-p`.
///
/// # Errors
/// When one of them has no address.
pub(super) fn servers(options: &Options) -> Result<Vec<Place>, BadServer> {
    let mut places = variable(SERVERS_VARIABLE).unwrap_or_default();
    let own = variable(OWN_VARIABLE);
    let in_own_variable = own.is_some();
    let known = places.len();
    places.extend(own.unwrap_or_else(|| {
        vec![Place { host: host(options.host.as_deref().unwrap_or_default()), port: options.port }]
    }));
    for (index, place) in places.iter().enumerate() {
        if let Err(text) = hosts::look_up(&place.host) {
            let trouble = Trouble::NoAddress { host: place.host.clone(), port: place.port, text };
            return Err(BadServer { trouble, in_own_variable: in_own_variable && index >= known });
        }
    }
    places.reverse();
    Ok(places)
}

fn host(text: &str) -> String {
    if text.is_empty() { "localhost".to_owned() } else { text.to_owned() }
}

fn variable(name: &str) -> Option<Vec<Place>> {
    let text = env::var_os(name)?.to_string_lossy().into_owned();
    let places = list(&text);
    // As libgearman: an empty list is one server, the usual one.
    Some(if places.is_empty() && name == OWN_VARIABLE { vec![place("")] } else { places })
}

fn list(text: &str) -> Vec<Place> {
    text.split(',').filter(|part| !part.is_empty()).map(place).collect()
}

fn place(text: &str) -> Place {
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    let port = atoi(port.as_bytes()) as u16;
    Place { host: host(name), port: if port == 0 { PORT } else { port } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_libgearman_does() {
        let text = |text| {
            list(text)
                .iter()
                .map(|place| format!("{}:{}", place.host, place.port))
                .collect::<Vec<_>>()
                .join(",")
        };
        for (given, read) in [
            ("one:1,two", "one:1,two:4730"),
            (",one:1,,", "one:1"),
            ("one:x", "one:4730"),
            ("one, two:7", "one:4730, two:7"),
            (":5", "localhost:5"),
        ] {
            assert_eq!(text(given), read);
        }
    }
}
