//! Where servers are.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Gearman's port.
pub const PORT: u16 = 4730;
/// The environment variable that names the servers, separated by commas, as for libgearman's programs.
pub const SERVERS_VARIABLE: &str = "GEARMAN_SERVERS";

/// Where a server listens.
///
/// Reads and writes `host`, `host:port`, `::1`, `[::1]`, `[::1]:port` and `unix:/path`:
///
/// ```
/// use gearshard::client::ServerAddress;
///
/// let address: ServerAddress = "[::1]:4731".parse()?;
/// assert_eq!(address.to_string(), "[::1]:4731");
/// assert_eq!("localhost".parse::<ServerAddress>()?.to_string(), "localhost:4730");
/// # Ok::<(), gearshard::client::InvalidAddress>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ServerAddress {
    /// A TCP port of a host.
    Tcp {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix stream socket.
    Unix(PathBuf),
}

impl ServerAddress {
    /// Reads a list of addresses that are separated by commas.
    ///
    /// # Errors
    /// When one of them is not an address, or there is none.
    pub fn list(text: &str) -> Result<Vec<Self>, InvalidAddress> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let list = parts.map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() { Err(InvalidAddress(text.to_owned())) } else { Ok(list) }
    }

    /// The servers that `GEARMAN_SERVERS` names; `localhost:4730` when it is not set or empty.
    ///
    /// # Errors
    /// When what it names is not an address.
    pub fn from_environment() -> Result<Vec<Self>, InvalidAddress> {
        match std::env::var(SERVERS_VARIABLE) {
            Ok(text) if !text.trim().is_empty() => Self::list(&text),
            Err(std::env::VarError::NotUnicode(text)) => Err(InvalidAddress(text.display().to_string())),
            _ => Ok(vec![Self::Tcp { host: "localhost".to_owned(), port: PORT }]),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(invalid()) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(invalid)?;
            match rest {
                "" => (host, None),
                _ => (host, Some(rest.strip_prefix(':').ok_or_else(invalid)?)),
            }
        } else {
            match text.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (text, None),
            }
        };
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| invalid()))?;
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(invalid());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl From<std::net::SocketAddr> for ServerAddress {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::Tcp { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A text that is not the address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAddress(pub String);

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is not the address of a server; write host, host:port, [::1]:port or unix:/path",
            self.0
        )
    }
}

impl std::error::Error for InvalidAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_users_write_them() {
        let cases = [
            ("localhost", "localhost:4730"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("::1", "[::1]:4730"),
            ("[::1]", "[::1]:4730"),
            ("[fe80::1]:7", "[fe80::1]:7"),
            ("unix:/run/g.sock", "unix:/run/g.sock"),
        ];
        for (text, expected) in cases {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), expected);
            assert_eq!(expected.parse(), Ok(address));
        }
        for bad in ["", "host:", "host:http", "host:70000", ":80", "[::1", "[::1]x", "unix:", "a b"] {
            assert!(bad.parse::<ServerAddress>().is_err(), "{bad}");
        }
        assert_eq!(ServerAddress::list("a, b:1,").unwrap().len(), 2);
        assert!(ServerAddress::list(",").is_err());
    }
}
