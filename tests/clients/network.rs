//! A network of its own, for programs that insist on 127.0.0.1:4730.
//!
//! A network namespace, where the kernel lets us make one: no port there is
//! taken. Elsewhere (in a container without privileges) the machine's own
//! network has to do, and then port 4730 must be free.

use crate::support::server::is_root;
use crate::support::{DEADLINE, Peers, Process};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, ToSocketAddrs};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Gearman's port.
const PORT: u16 = 4730;

// Brings the loopback device up (SIOCSIFFLAGS, IFF_UP) and keeps the namespace.
const KEEP: &str = "import fcntl, socket, struct, time
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 1))
print('up', flush=True)
time.sleep(3600)";

/// Where commands can be run; goes away when dropped.
pub(crate) enum Network {
    /// The namespace of this process.
    Namespace(Process),
    /// The machine's network, one test at a time.
    Machine(#[allow(dead_code, reason = "held for its drop")] MutexGuard<'static, ()>),
}

impl Network {
    pub(crate) fn new() -> Self {
        let found = ("localhost", PORT).to_socket_addrs();
        assert!(found.is_ok(), "PHP looks for `localhost`, /etc/hosts must name it: {found:?}");
        Self::namespace().map_or_else(Self::machine, Self::Namespace)
    }

    fn namespace() -> Option<Process> {
        let mut command = Command::new("unshare");
        command.args(if is_root() { &["--net"][..] } else { &["--net", "--map-root-user"][..] }).arg("--");
        append(&mut command, Peers::require().python().args(["-c", KEEP]));
        let mut keeper = Process::start(command, b"");
        let start = Instant::now();
        while !keeper.stdout().contains("up") {
            if keeper.exit_status().is_some() {
                return None;
            }
            assert!(start.elapsed() < DEADLINE, "unshare neither works nor fails");
            std::thread::yield_now();
        }
        Some(keeper)
    }

    fn machine() -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        // A test that failed left nothing behind that could harm the next.
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        for result in
            [TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)), TcpListener::bind((Ipv6Addr::LOCALHOST, PORT))]
        {
            let taken = result.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse);
            assert!(
                !taken,
                "no network namespace can be made here, and port {PORT} is taken: \
                 stop what listens there, or allow namespaces (as root, or with kernel.unprivileged_userns_clone=1)"
            );
        }
        eprintln!("no network namespace can be made here: using the machine's port {PORT}");
        Self::Machine(guard)
    }

    /// `command`, inside.
    pub(crate) fn inside(&self, mut command: Command) -> Command {
        let Self::Namespace(keeper) = self else {
            return command;
        };
        let mut outer = Command::new("nsenter");
        outer.args(["--target", &keeper.pid().to_string(), "--net"]);
        if !is_root() {
            outer.args(["--user", "--preserve-credentials"]);
        }
        outer.arg("--");
        append(&mut outer, &mut command);
        outer
    }
}

// Appends program and arguments, and takes over the variables.
fn append(outer: &mut Command, inner: &mut Command) {
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
}
