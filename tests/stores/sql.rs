//! gearmand's `Postgres` and `MySQL`.

use std::sync::Arc;

use crate::support::databases::{self, Database, Sql};
use crate::{Kind, Leaves, Rows, Times};

/// A database of its own on a server.
///
/// `SQL` is which server, as a number; `OWN` is whether nobody else is on it,
/// so that it may be killed.
struct Store<const SQL: usize, const OWN: bool> {
    server: Arc<Database>,
    name: String,
}

const POSTGRES: usize = Sql::Postgres as usize;
const MARIADB: usize = Sql::MariaDb as usize;

impl<const SQL: usize, const OWN: bool> Store<SQL, OWN> {
    /// The table that gearmand names by default.
    const TABLE: &'static str = if SQL == POSTGRES { "queue" } else { "gearman_queue" };

    fn query(&self, sql: &str) -> String {
        self.server.query(&self.name, sql)
    }
}

impl<const SQL: usize, const OWN: bool> Kind for Store<SQL, OWN> {
    const TIMES: Times = Times::All;

    fn start() -> Self {
        let sql = if SQL == POSTGRES { Sql::Postgres } else { Sql::MariaDb };
        let server = if OWN { Arc::new(Database::start(sql)) } else { databases::shared(sql) };
        let name = server.create();
        Self { server, name }
    }

    fn args(&self) -> Vec<String> {
        self.server.queue_args(&self.name)
    }
}

impl<const SQL: usize, const OWN: bool> Rows for Store<SQL, OWN> {
    fn gearmand_args(&self) -> Vec<String> {
        self.args()
    }

    fn rows(&self) -> usize {
        self.query(&format!("SELECT count(*) FROM {}", Self::TABLE)).trim().parse().unwrap()
    }

    fn spoil(&self) -> usize {
        let rows = [
            "(NULL, 'f', 1, 'x', 0)",
            "('a', NULL, 1, 'x', 0)",
            "('b', 'f', 7, 'x', 0)",
            "('c', 'f', NULL, 'x', 0)",
            "('d', 'f', 1, 'x', -1)",
        ];
        let columns = "unique_key, function_name, priority, data, when_to_run";
        self.query(&format!("INSERT INTO {} ({columns}) VALUES {}", Self::TABLE, rows.join(", ")));
        rows.len()
    }
}

impl<const SQL: usize> Leaves for Store<SQL, true> {
    fn stop_engine(&mut self) {
        Arc::get_mut(&mut self.server).unwrap().kill();
    }

    fn start_engine(&mut self) {
        Arc::get_mut(&mut self.server).unwrap().restart();
    }
}

crate::suite!(postgres, Store<POSTGRES, false>);
crate::rows_suite!(postgres_rows, Store<POSTGRES, false>);
crate::leaving_suite!(postgres_leaving, Store<POSTGRES, true>);
crate::suite!(mysql, Store<MARIADB, false>);
crate::rows_suite!(mysql_rows, Store<MARIADB, false>);
crate::leaving_suite!(mysql_leaving, Store<MARIADB, true>);
