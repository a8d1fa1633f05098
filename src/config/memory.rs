//! How much memory there is for this process: the machine's, or less where its
//! control group says so.

use std::fs;
use std::path::{Path, PathBuf};

/// Memory of the machine, or of the tightest control group around this process,
/// in bytes. `None` where the system does not tell.
#[must_use]
pub fn available() -> Option<u64> {
    available_under(Path::new("/"))
}

fn available_under(root: &Path) -> Option<u64> {
    let machine = machine_bytes(&read(&root.join("proc/meminfo")));
    let groups = group_limits(root, &read(&root.join("proc/self/cgroup")));
    machine.into_iter().chain(groups).min()
}

/// Text of a file under `/proc` or `/sys`. A system without it sets no limit.
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limits of every group from the process's own up to the root. In a
/// container the path may be the host's, of which only the root can be seen.
fn group_limits(root: &Path, cgroup: &str) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (mount, file): (PathBuf, _) = match controllers {
            "" => (root.join("sys/fs/cgroup"), "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let own = mount.join(path.trim_start_matches('/'));
        let groups = own.ancestors().take_while(|group| group.starts_with(&mount));
        limits.extend(groups.filter_map(|group| read(&group.join(file)).trim().parse::<u64>().ok()));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_counts() {
        let root = std::env::temp_dir().join(format!("gearshard-memory-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/meminfo", "MemTotal:        8000 kB\nMemFree:          1 kB\n");
        assert_eq!(available_under(&root), Some(8000 * 1024));
        write("proc/self/cgroup", "0::/system.slice/gearman.service\n");
        write("sys/fs/cgroup/system.slice/memory.max", "4096000\n");
        write("sys/fs/cgroup/system.slice/gearman.service/memory.max", "max\n");
        assert_eq!(available_under(&root), Some(4_096_000));
        write("proc/self/cgroup", "5:cpu,memory:/docker/abc\n1:name=systemd:/x\n");
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "2048000\n");
        assert_eq!(available_under(&root), Some(2_048_000));
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(available_under(&root), None);
    }
}
