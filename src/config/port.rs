//! The number of a port that is given by name.

use std::fs;
use std::io;

/// A port's number, or the number that `/etc/services` has for its name.
pub(super) fn port_number(port: &str) -> io::Result<u16> {
    if let Ok(number) = port.parse() {
        return Ok(number);
    }
    // Without that file no service is known, which the error says.
    let services = fs::read_to_string("/etc/services").unwrap_or_default();
    service_port(&services, port).ok_or_else(|| {
        let text = format!("{port}: neither a port number nor a TCP service in /etc/services");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

/// `name  4730/tcp  alias...  # comment`
fn service_port(services: &str, wanted: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let name = words.next()?;
        let port = words.next()?.strip_suffix("/tcp")?.parse().ok()?;
        (name == wanted || words.any(|alias| alias == wanted)).then_some(port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_found_by_name_and_alias() {
        let services = "# gearman 1/tcp\ngearman\t\t4730/tcp\t\t# Gearman\nx 5/udp gm\nother 6/tcp gm # q\n";
        assert_eq!(service_port(services, "gearman"), Some(4730));
        assert_eq!(service_port(services, "gm"), Some(6));
        assert_eq!(service_port(services, "q"), None);
    }

    #[test]
    fn ports_are_numbers_or_names() {
        assert_eq!(port_number("4730").unwrap(), 4730);
        assert_eq!(port_number("0").unwrap(), 0);
        for wrong in ["65536", "-1", "no such service"] {
            assert!(port_number(wrong).is_err(), "{wrong}");
        }
    }
}
