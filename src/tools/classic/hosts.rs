//! Names of hosts and ports, read and looked up as the C library does.

use std::fs;
use std::io;
use std::net::ToSocketAddrs;

/// What the C library says of a port that it does not know.
const NO_SUCH_SERVICE: &str = "Servname not supported for ai_socktype";
/// What the standard library puts before the C library's words.
const LOOKUP: &str = "failed to lookup address information: ";

/// Whether `host` has an address.
///
/// # Errors
/// The C library's words.
pub(super) fn look_up(host: &str) -> Result<(), String> {
    // No port is asked for: whether it has any address is the question.
    match (host, 0).to_socket_addrs() {
        Ok(_) => Ok(()),
        Err(error) => Err(words(&error)),
    }
}

fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix(LOOKUP).map_or_else(|| text.clone(), str::to_owned)
}

/// The port with this number or name. As in the C library, numbers too large lose their
/// upper bits, and nothing is port 0.
///
/// # Errors
/// The C library's words, when there is none.
pub(super) fn port(service: &str) -> Result<u16, &'static str> {
    if service.is_empty() {
        return Ok(0);
    }
    let digits = service.trim_start().trim_start_matches('+');
    if digits.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(number) = digits.parse::<u64>()
    {
        return Ok(number as u16);
    }
    let services = fs::read_to_string("/etc/services").unwrap_or_default();
    named_port(&services, service).ok_or(NO_SUCH_SERVICE)
}

fn named_port(services: &str, name: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let (first, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        let known = first == name || words.any(|alias| alias == name);
        if known { port.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_or_names() {
        assert_eq!(port("4730"), Ok(4730));
        assert_eq!(port(" +99999"), Ok(34463));
        assert_eq!(port(""), Ok(0));
        for bad in ["x", "=1", "-1", "1 ", "4730x"] {
            assert_eq!(port(bad), Err(NO_SUCH_SERVICE), "{bad}");
        }
        let services = "# comment\nhttp 80/tcp www # web\nsyslog 514/udp\ngearman 4730/tcp\n";
        assert_eq!(named_port(services, "www"), Some(80));
        assert_eq!(named_port(services, "gearman"), Some(4730));
        assert_eq!(named_port(services, "syslog"), None);
    }
}
