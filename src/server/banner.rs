//! What the server says about itself once it listens.

use super::{Durability, EngineOptions, LocalAddress, Server, StoreOptions, process, syslog};
use crate::config::{Config, LogTarget, show_size};

/// The facts of a start, a line each.
pub(super) fn lines(config: &Config, server: &Server) -> Vec<String> {
    let fact = |name: &str, text: &str| format!("  {name:<11}{text}");
    let mut lines = vec![format!("gearshard {}, pid {}", env!("CARGO_PKG_VERSION"), std::process::id())];
    lines.push(fact("listening", &addresses(server).join(", ")));
    lines.push(fact("shards", &shards(config, server)));
    lines.push(fact("queue", &queue(config, server)));
    lines.push(fact("limits", &limits(config, server)));
    lines.push(fact("log", &log(config)));
    lines
}

/// What an operator should know before something happens, a sentence each.
pub(super) fn warnings(config: &Config, server: &Server) -> Vec<String> {
    let descriptors = process::descriptors();
    let too_few = (server.connections_max() as u64 >= descriptors).then(|| {
        format!("{descriptors} descriptors are too few for so many connections; see --file-descriptors")
    });
    let no_syslog = (config.log.syslog && !syslog::is_there())
        .then(|| "there is no syslog to log to; messages are lost until there is".to_owned());
    let exposed = exposed(&server.local_addresses());
    config.warnings.iter().cloned().chain(too_few).chain(no_syslog).chain(exposed).collect()
}

/// A word about addresses that more than this machine can reach.
fn exposed(addresses: &[LocalAddress]) -> Option<String> {
    let tcp = addresses.iter().filter_map(LocalAddress::tcp);
    let open: Vec<String> =
        tcp.filter(|tcp| !tcp.ip().to_canonical().is_loopback()).map(|tcp| tcp.to_string()).collect();
    (!open.is_empty()).then(|| {
        let open = open.join(", ");
        format!(
            "{open} can be reached from other machines, and whoever reaches it may submit jobs and take them; \
             use --listen=localhost or a firewall"
        )
    })
}

fn addresses(server: &Server) -> Vec<String> {
    server
        .local_addresses()
        .iter()
        .map(|address| address.tcp().map_or_else(|| address.to_string(), |tcp| tcp.to_string()))
        .collect()
}

fn shards(config: &Config, server: &Server) -> String {
    let chosen = if config.threads == 0 { ", one for every core" } else { "" };
    format!("{}{chosen}", server.shards())
}

fn queue(config: &Config, server: &Server) -> String {
    let (Some(store), Some(kept)) = (&config.store, server.kept()) else {
        return "memory; jobs that wait or run, background jobs too, are lost at a stop (drain first: SIGUSR2)"
            .to_owned();
    };
    let dropped = match kept.dropped_bytes {
        0 => String::new(),
        bytes => format!(", {bytes} bytes of an unfinished write dropped"),
    };
    let found = format!("{} background jobs found{dropped}", kept.jobs);
    let (directory, durability) = match store {
        StoreOptions::Log { directory, durability, .. } => (directory.display(), durability),
        StoreOptions::Rows(engine) => return format!("{}, {found}; {}", engine.queue_type(), rows(engine)),
    };
    let window = match durability {
        Durability::Always => "acknowledged when on disk; nothing acknowledged is lost".to_owned(),
        Durability::Interval(interval) => {
            format!("a loss of power loses up to the last {} ms of acknowledged jobs", interval.as_millis())
        }
        Durability::Never => {
            "a loss of power loses acknowledged jobs that the system has not written".to_owned()
        }
    };
    let bound = config.limits.queue_memory_bytes;
    let bound = bound.map_or_else(String::new, |bytes| {
        format!("; above {} of jobs their workloads are in the log only", show_size(bytes))
    });
    format!("log in {directory}, {found}; {window}{bound}")
}

/// When a job in somebody else's engine is safe.
const fn rows(engine: &EngineOptions) -> &'static str {
    match engine {
        EngineOptions::Sqlite { on_shutdown: true, .. } => {
            "written at a clean end only; a crash loses acknowledged jobs"
        }
        EngineOptions::Memcached { .. } | EngineOptions::Redis { .. } => {
            "acknowledged when it has them; how safe they are there is for it to say"
        }
        _ => "acknowledged when it has committed them",
    }
}

fn limits(config: &Config, server: &Server) -> String {
    let limits = &config.limits;
    let memory = limits
        .memory_bytes
        .map_or_else(|| "memory unlimited".to_owned(), |bytes| format!("memory {}", show_size(bytes)));
    format!(
        "{} connections, {memory}, packets {}, unread by a peer {}",
        server.connections_max(),
        show_size(limits.packet_bytes.into()),
        show_size(limits.write_buffer_bytes as u64),
    )
}

fn log(config: &Config) -> String {
    let target = match &config.log.target {
        LogTarget::Stderr => "stderr".to_owned(),
        LogTarget::None => "none".to_owned(),
        LogTarget::File(path) => path.display().to_string(),
    };
    let syslog = if config.log.syslog { " and syslog" } else { "" };
    format!("{target}{syslog}, {} and graver", config.log.level.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_others_can_reach_are_named() {
        let tcp = |text: &str| LocalAddress::Tcp(text.parse().unwrap());
        let local = [tcp("127.0.0.1:1"), tcp("127.9.9.9:1"), tcp("[::1]:1"), tcp("[::ffff:127.0.0.1]:1")];
        assert_eq!(exposed(&local), None);
        assert_eq!(exposed(&[LocalAddress::Unix("/run/g".into())]), None);
        let warning = exposed(&[tcp("127.0.0.1:1"), tcp("0.0.0.0:1"), tcp("[::]:1")]).unwrap();
        assert!(warning.starts_with("0.0.0.0:1, [::]:1 can be reached"), "{warning}");
    }
}
