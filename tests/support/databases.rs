//! Real database servers, PostgreSQL 15 and MariaDB 10.11, on a free port of
//! 127.0.0.1 with their data in a directory that goes away with them.
//!
//! They sync what they commit, as they come. Both refuse to be root; then
//! they run as the user `nobody`.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::process::TempDir;
use super::server::{free_port, is_root};
use super::{DEADLINE, Peers, Process};

/// Debian's `nobody`, and its group.
const NOBODY: u32 = 65_534;
/// What the user `gearman` of every server says.
const PASSWORD: &str = "open sesame";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sql {
    /// PostgreSQL 15.
    Postgres,
    /// MariaDB 10.11.
    MariaDb,
}

/// A server with its data. Stopped when dropped.
#[derive(Debug)]
pub struct Database {
    sql: Sql,
    port: u16,
    process: Option<Process>,
    dir: TempDir,
}

/// The server that all tests of this process share, each with a database of its own.
pub fn shared(sql: Sql) -> Arc<Database> {
    static SHARED: [Mutex<Weak<Database>>; 2] = [Mutex::new(Weak::new()), Mutex::new(Weak::new())];
    // A test that failed while it started one has left nothing there.
    let mut shared = SHARED[sql as usize].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Database::start(sql));
        *shared = Arc::downgrade(&started);
        started
    })
}

impl Database {
    /// Makes a server and waits until it answers a query.
    pub fn start(sql: Sql) -> Self {
        let dir = TempDir::new();
        if is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut database = Self { sql, port: free_port(), process: None, dir };
        match sql {
            Sql::Postgres => database.init_postgres(),
            Sql::MariaDb => database.init_mariadb(),
        }
        database.restart();
        if sql == Sql::MariaDb {
            let user = "gearman@localhost IDENTIFIED BY";
            database.query_as("root", "mysql", &format!("CREATE USER {user} '{PASSWORD}'"));
            database.query_as("root", "mysql", "GRANT ALL ON *.* TO gearman@localhost");
        }
        database
    }

    /// Starts it again on the same data and the same port.
    pub fn restart(&mut self) {
        let start = Instant::now();
        self.process = None;
        while !self.answers() {
            let ended = self.process.as_mut().is_none_or(|process| process.exit_status().is_some());
            let said = self.process.as_ref().map(Process::stderr).unwrap_or_default();
            assert!(start.elapsed() < DEADLINE, "{:?} does not start:\n{said}", self.sql);
            if ended {
                // What is left of a killed one may still be in its way.
                self.process = Some(Process::start(self.server(), b""));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it as an administrator does.
    pub fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        process.signal(if self.sql == Sql::Postgres { "INT" } else { "TERM" });
        process.wait(DEADLINE);
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// The process itself, for signals.
    pub fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    /// The process ids of it and of its own processes.
    pub fn processes(&self) -> Vec<u32> {
        let pid = self.process().pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        std::iter::once(pid).chain(children.split_whitespace().map(|pid| pid.parse().unwrap())).collect()
    }

    /// Which server this is.
    pub fn sql(&self) -> Sql {
        self.sql
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new, empty database; its name.
    pub fn create(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("jobs_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let system = if self.sql == Sql::Postgres { "postgres" } else { "mysql" };
        self.query(system, &format!("CREATE DATABASE {name}"));
        name
    }

    /// What gearmand and gearshard are told to keep jobs in the database `name`.
    pub fn queue_args(&self, name: &str) -> Vec<String> {
        match self.sql {
            Sql::Postgres => {
                vec!["--queue-type=Postgres".to_owned(), format!("--libpq-conninfo={}", self.conninfo(name))]
            }
            Sql::MariaDb => vec![
                "--queue-type=MySQL".to_owned(),
                "--mysql-host=127.0.0.1".to_owned(),
                format!("--mysql-port={}", self.port),
                "--mysql-user=gearman".to_owned(),
                format!("--mysql-password={PASSWORD}"),
                format!("--mysql-db={name}"),
            ],
        }
    }

    /// How libpq is told of the database `name`.
    pub fn conninfo(&self, name: &str) -> String {
        format!("host=127.0.0.1 port={} user=gearman password='{PASSWORD}' dbname={name}", self.port)
    }

    /// The user's password.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The socket of this machine.
    pub fn socket(&self) -> PathBuf {
        match self.sql {
            Sql::Postgres => self.dir.path().to_owned(),
            Sql::MariaDb => self.dir.path().join("socket"),
        }
    }

    /// What a statement answers, a line for each row and a tab between two values.
    pub fn query(&self, name: &str, sql: &str) -> String {
        self.query_as("gearman", name, sql)
    }

    fn query_as(&self, user: &str, name: &str, sql: &str) -> String {
        Process::run(self.client(user, name, sql), b"").success().text()
    }

    fn answers(&self) -> bool {
        let (user, system) =
            if self.sql == Sql::Postgres { ("gearman", "postgres") } else { ("root", "mysql") };
        self.process.is_some() && Process::run(self.client(user, system, "SELECT 1"), b"").status.success()
    }

    fn client(&self, user: &str, name: &str, sql: &str) -> Command {
        let peers = Peers::require();
        let mut command = peers.command(peers.path(match self.sql {
            Sql::Postgres => "usr/lib/postgresql/15/bin/psql",
            Sql::MariaDb => "usr/bin/mariadb",
        }));
        let port = self.port.to_string();
        match self.sql {
            Sql::Postgres => {
                command.env("PGPASSWORD", PASSWORD).env("PGCONNECT_TIMEOUT", "5");
                command.args(["-X", "-h", "127.0.0.1", "-p", &port, "-U", user, "-d", name]);
                command.args(["-v", "ON_ERROR_STOP=1", "-A", "-t", "-q", "-F", "\t", "-c", sql]);
            }
            Sql::MariaDb => {
                command.args([
                    "--no-defaults",
                    "--connect-timeout=5",
                    "--skip-ssl",
                    "-h",
                    "127.0.0.1",
                    "-P",
                    &port,
                ]);
                command.args(["-u", user, "-D", name, "-N", "-B", "-e", sql]);
                if user == "gearman" {
                    command.env("MYSQL_PWD", PASSWORD);
                }
            }
        }
        command
    }

    fn init_postgres(&self) {
        let password = self.dir.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        let mut command = self.command("usr/lib/postgresql/15/bin/initdb");
        command.arg("-L").arg(Peers::require().path("usr/share/postgresql/15"));
        command.arg("-D").arg(self.dir.path().join("data")).arg("--pwfile").arg(password);
        command.args(["-U", "gearman", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"]);
        Process::run(command, b"").success();
    }

    fn init_mariadb(&self) {
        let peers = Peers::require();
        let mut sql = b"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n".to_vec();
        for part in ["mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data"] {
            sql.extend(fs::read(peers.path(&format!("usr/share/mysql/{part}.sql"))).unwrap());
        }
        let data = self.dir.path().join("data");
        fs::create_dir(&data).unwrap();
        if is_root() {
            chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut command = self.mariadbd();
        command.arg("--bootstrap");
        Process::run(command, &sql).success();
    }

    fn server(&self) -> Command {
        let port = self.port.to_string();
        match self.sql {
            Sql::Postgres => {
                let mut command = self.command("usr/lib/postgresql/15/bin/postgres");
                command.arg("-D").arg(self.dir.path().join("data")).arg("-k").arg(self.dir.path());
                command.args(["-h", "127.0.0.1", "-p", &port]);
                command
            }
            Sql::MariaDb => {
                let mut command = self.mariadbd();
                command.args(["--bind-address=127.0.0.1", "--port", &port]);
                command.arg("--socket").arg(self.socket());
                command.arg("--pid-file").arg(self.dir.path().join("pid"));
                command
            }
        }
    }

    fn mariadbd(&self) -> Command {
        let peers = Peers::require();
        let mut command = self.command("usr/sbin/mariadbd");
        command.args(["--no-defaults", "--innodb-log-file-size=32M", "--innodb-buffer-pool-size=64M"]);
        command.arg("--datadir").arg(self.dir.path().join("data"));
        command.arg("--tmpdir").arg(self.dir.path());
        command.arg("--lc-messages-dir").arg(peers.path("usr/share/mysql"));
        command.arg("--character-sets-dir").arg(peers.path("usr/share/mysql/charsets"));
        command.arg("--plugin-dir").arg(peers.path("usr/lib/mysql/plugin"));
        command
    }

    /// A program of theirs, as the user that may run it.
    fn command(&self, program: &str) -> Command {
        let peers = Peers::require();
        let mut command = peers.command(peers.path(program));
        command.current_dir(self.dir.path());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // PostgreSQL's other processes end with the first one at this signal, and before it.
        if self.sql == Sql::Postgres
            && let Some(process) = &mut self.process
            && process.exit_status().is_none()
        {
            process.signal("CONT");
            process.signal("QUIT");
            process.wait(DEADLINE);
        }
    }
}
