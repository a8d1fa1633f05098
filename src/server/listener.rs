//! Listening sockets: names to addresses, addresses to sockets.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Type};

use super::log::Level;
use super::options::{Keepalive, Listen, Options};
use super::{LocalAddress, ServerError};
use crate::reactor::socket::{Remote, Socket};

/// How often a free port is looked for that all addresses of a name have free.
const FREE_PORT_ATTEMPTS: usize = 50;
/// Pauses between two attempts to bind an address in use; the last repeats.
const BIND_PAUSES_S: [u64; 5] = [1, 2, 4, 6, 9];

/// One listening socket. A unix socket's file goes with it.
pub(super) struct Listener {
    kind: Kind,
    pub(super) address: LocalAddress,
}

enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, inode: u64 },
}

impl Listener {
    /// Takes one connection from the kernel's list.
    pub(super) fn accept(&self) -> io::Result<(Socket, Remote)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                listener.accept().map(|(stream, remote)| (Socket::Tcp(stream), Remote::Tcp(remote)))
            }
            Kind::Unix { listener, .. } => {
                listener.accept().map(|(stream, _)| (Socket::Unix(stream), Remote::Unix))
            }
        }
    }

    /// Has the poll behind `registry` report connections under `token`.
    pub(super) fn watch(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.kind {
            Kind::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Kind::Unix { listener, .. } => listener.register(registry, token, Interest::READABLE),
        }
    }

    /// The descriptor's number.
    pub(super) fn number(&self) -> i32 {
        match &self.kind {
            Kind::Tcp(listener) => listener.as_raw_fd(),
            Kind::Unix { listener, .. } => listener.as_raw_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let (Kind::Unix { inode, .. }, LocalAddress::Unix(path)) = (&self.kind, &self.address) {
            // Somebody may have put another socket there; that one is not ours to remove.
            if std::fs::metadata(path).is_ok_and(|file| file.ino() == *inode) {
                // Nothing is left to do when it cannot be removed: the next start replaces it.
                let _stale = std::fs::remove_file(path);
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.address, self.number())
    }
}

/// Binds everything that the options ask for.
pub(super) fn bind_all(options: &Options) -> Result<Vec<Listener>, ServerError> {
    let mut listeners = Vec::new();
    for listen in &options.listen {
        match listen {
            Listen::Any { port } => {
                let any = [(Ipv4Addr::UNSPECIFIED, *port).into(), (Ipv6Addr::UNSPECIFIED, *port).into()];
                listeners.extend(bind_patiently(&any, options)?);
            }
            Listen::Host { host, port } => {
                listeners.extend(bind_patiently(&resolve(host, *port)?, options)?);
            }
            Listen::Unix(path) => listeners.push(bind_unix(path, options.backlog)?),
        }
    }
    if listeners.is_empty() {
        return Err(ServerError::NoListener);
    }
    Ok(listeners)
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ServerError> {
    let failed = |source| ServerError::Resolve { host: host.to_owned(), source };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in (host, port).to_socket_addrs().map_err(failed)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(addresses)
}

/// Binds all addresses, and tries again for a while when one is in use: the
/// server that is being replaced may take a moment to go.
fn bind_patiently(addresses: &[SocketAddr], options: &Options) -> Result<Vec<Listener>, ServerError> {
    let give_up = Instant::now() + options.bind_patience;
    let mut pauses = BIND_PAUSES_S.iter().copied().map(Duration::from_secs);
    let mut pause = Duration::ZERO;
    loop {
        let error = match bind_addresses(addresses, options) {
            Ok(listeners) => return Ok(listeners),
            Err(error) => error,
        };
        let left = give_up.saturating_duration_since(Instant::now());
        if left.is_zero() || !matches!(error, ServerError::AddressInUse { .. }) {
            return Err(error);
        }
        (options.log)(Level::Warning, format_args!("{error}; trying again for {} s", left.as_secs() + 1));
        pause = pauses.next().unwrap_or(pause);
        std::thread::sleep(pause.min(left));
    }
}

fn bind_addresses(addresses: &[SocketAddr], options: &Options) -> Result<Vec<Listener>, ServerError> {
    let any_port = addresses.iter().all(|address| address.port() == 0);
    let mut result = bind_each(addresses, options);
    for _ in 0..FREE_PORT_ATTEMPTS {
        // A port free at the first address may be taken at the second.
        if !any_port || !matches!(result, Err(ServerError::AddressInUse { .. })) {
            break;
        }
        result = bind_each(addresses, options);
    }
    result
}

fn bind_each(addresses: &[SocketAddr], options: &Options) -> Result<Vec<Listener>, ServerError> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut unavailable = None;
    for &(mut address) in addresses {
        // Port 0 means one free port, the same at every address.
        if let (0, Some(LocalAddress::Tcp(first))) = (address.port(), listeners.first().map(|l| &l.address)) {
            address.set_port(first.port());
        }
        match bind_tcp(address, options) {
            Ok(listener) => listeners.push(listener),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                return Err(ServerError::AddressInUse { address });
            }
            // A machine without IPv6 still has a name with an IPv6 address.
            Err(source) if is_unavailable(&source) => unavailable = Some((address, source)),
            Err(source) => return Err(ServerError::Bind { address: address.to_string(), source }),
        }
    }
    match unavailable {
        Some((address, source)) if listeners.is_empty() => {
            Err(ServerError::Bind { address: address.to_string(), source })
        }
        Some((address, source)) => {
            (options.log)(Level::Warning, format_args!("Not listening on {address}: {source}"));
            Ok(listeners)
        }
        None => Ok(listeners),
    }
}

fn is_unavailable(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn bind_tcp(address: SocketAddr, options: &Options) -> io::Result<Listener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit what follows.
    set_stream_options(&socket, options.keepalive)?;
    socket.bind(&address.into())?;
    socket.listen(backlog(options.backlog))?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into());
    let address = LocalAddress::Tcp(listener.local_addr()?);
    Ok(Listener { kind: Kind::Tcp(listener), address })
}

/// No delay, and keepalive with the given parameters.
fn set_stream_options(socket: &socket2::Socket, keepalive: Keepalive) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    let mut parameters = socket2::TcpKeepalive::new();
    if let Some(idle) = keepalive.idle {
        parameters = parameters.with_time(idle);
    }
    if let Some(interval) = keepalive.interval {
        parameters = parameters.with_interval(interval);
    }
    if let Some(count) = keepalive.count {
        parameters = parameters.with_retries(count);
    }
    socket.set_tcp_keepalive(&parameters)
}

fn backlog(asked: u32) -> i32 {
    i32::try_from(asked).unwrap_or(i32::MAX)
}

fn bind_unix(path: &Path, asked: u32) -> Result<Listener, ServerError> {
    let failed = |source| ServerError::Bind { address: format!("unix:{}", path.display()), source };
    remove_stale(path)?;
    let address = SockAddr::unix(path).map_err(failed)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.bind(&address).map_err(failed)?;
    socket.listen(backlog(asked)).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let inode = std::fs::metadata(path).map_err(failed)?.ino();
    let listener = UnixListener::from_std(socket.into());
    Ok(Listener { kind: Kind::Unix { listener, inode }, address: LocalAddress::Unix(path.to_owned()) })
}

/// Removes the socket file of a server that is no more.
fn remove_stale(path: &Path) -> Result<(), ServerError> {
    let failed = |source| ServerError::Bind { address: format!("unix:{}", path.display()), source };
    let file = match std::fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !file.file_type().is_socket() {
        return Err(ServerError::NotASocket { path: path.to_owned() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Connected, or its list of connections is full: somebody listens there.
        Ok(_) => Err(ServerError::SocketInUse { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(ServerError::SocketInUse { path: path.to_owned() })
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn quick(listen: Vec<Listen>) -> Options {
        Options { listen, bind_patience: Duration::ZERO, ..Options::default() }
    }

    fn host(host: &str, port: u16) -> Vec<Listen> {
        vec![Listen::Host { host: host.to_owned(), port }]
    }

    fn accept(listener: &Listener) -> Socket {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match listener.accept() {
                Ok((socket, _)) => return socket,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            assert!(Instant::now() < deadline, "nothing to accept");
            std::thread::yield_now();
        }
    }

    #[test]
    fn accepted_sockets_have_no_delay_and_the_given_keepalive() {
        let keepalive = Keepalive {
            idle: Some(Duration::from_secs(77)),
            interval: Some(Duration::from_secs(7)),
            count: Some(5),
        };
        let listeners = bind_all(&Options { keepalive, ..quick(host("127.0.0.1", 0)) }).unwrap();
        let LocalAddress::Tcp(address) = &listeners[0].address else { panic!("a TCP address was asked for") };
        let _client = TcpStream::connect(address).unwrap();
        let socket = accept(&listeners[0]);
        let options = socket2::SockRef::from(&socket);
        assert!(options.tcp_nodelay().unwrap());
        assert!(options.keepalive().unwrap());
        assert_eq!(options.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
        assert_eq!(options.tcp_keepalive_interval().unwrap(), Duration::from_secs(7));
        assert_eq!(options.tcp_keepalive_retries().unwrap(), 5);
    }

    #[test]
    fn every_address_of_a_name_is_bound_to_one_free_port() {
        let listeners = bind_all(&quick(vec![Listen::Any { port: 0 }])).unwrap();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|listener| match &listener.address {
                LocalAddress::Tcp(address) => address.port(),
                LocalAddress::Unix(_) => panic!("no unix socket was asked for"),
            })
            .collect();
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        for listener in &listeners {
            let LocalAddress::Tcp(address) = &listener.address else { continue };
            let loopback =
                if address.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
            let _client = TcpStream::connect(SocketAddr::new(loopback, address.port())).unwrap();
            accept(listener);
        }
    }

    #[test]
    fn an_address_in_use_is_named_and_waited_for() {
        let first = bind_all(&quick(host("127.0.0.1", 0))).unwrap();
        let LocalAddress::Tcp(address) = first[0].address.clone() else { panic!("a TCP address") };
        let again = quick(host("127.0.0.1", address.port()));
        let error = bind_all(&again).err().expect("the address is in use");
        assert!(matches!(&error, ServerError::AddressInUse { address: at } if *at == address), "{error}");
        let releaser = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(first);
        });
        let patient = Options { bind_patience: Duration::from_secs(60), ..again };
        assert_eq!(bind_all(&patient).unwrap()[0].address, LocalAddress::Tcp(address));
        releaser.join().unwrap();
    }

    #[test]
    fn names_that_do_not_resolve_are_named() {
        let error = bind_all(&quick(host("no-such-host.invalid", 1))).err().expect("the name cannot exist");
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    }

    #[test]
    fn unix_socket_files_are_replaced_when_stale_and_removed_when_done() {
        let folder = std::env::temp_dir().join(format!("gearshard-listener-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let listen = vec![Listen::Unix(path.clone())];
        // A socket that nobody listens on any more leaves its file behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listeners = bind_all(&quick(listen.clone())).unwrap();
        let error = bind_all(&quick(listen.clone())).err().expect("a server listens there");
        assert!(matches!(error, ServerError::SocketInUse { .. }), "{error}");
        drop(listeners);
        assert!(!path.exists(), "the file goes with its listener");
        std::fs::write(&path, "precious").unwrap();
        let error = bind_all(&quick(listen)).err().expect("a plain file is in the way");
        assert!(matches!(error, ServerError::NotASocket { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
