//! What the process may do: its descriptors, its user, its core file.
//!
//! Texts of failures are gearmand's; they go behind the program's name.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{User, getuid, setgid, setgroups, setuid};

/// Allows `wanted` descriptors, or with 0 all that the process may have.
pub(super) fn allow_descriptors(wanted: u64) -> Result<(), String> {
    const FAILED: &str = "Failed to set limit for the number of file descriptors.  \
                          Try running as root or giving a smaller value to -f.";
    let failed = |error: nix::errno::Errno| format!("{FAILED} ({})", error.desc());
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if wanted == 0 {
        // What cannot be had is not missed: nobody asked for a number.
        let _raised = setrlimit(Resource::RLIMIT_NOFILE, most, most);
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, most.max(wanted)).map_err(failed)
}

/// How many descriptors the process may open.
pub(super) fn descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(now, _)| now)
}

/// Lets a crash leave a core file as large as the process may write.
pub(super) fn allow_core_file() -> Result<(), String> {
    let raise = |(_, most)| setrlimit(Resource::RLIMIT_CORE, most, most);
    let raised = getrlimit(Resource::RLIMIT_CORE).and_then(raise);
    raised.map_err(|error| format!("Could not allow core files. ({})", error.desc()))
}

/// Has the kernel give memory in small pages only, unless huge ones were asked
/// for: a huge one is resident as a whole when a part of it is used, which costs
/// a deep queue a tenth of its size.
pub(super) fn refuse_huge_pages() {
    // Where this cannot be had, memory is larger and nothing else is different;
    // before Linux 6.18 very large packets go without huge pages, too.
    #[cfg(target_os = "linux")]
    if !refuse_unasked_huge_pages() {
        let _refused = nix::sys::prctl::set_thp_disable(true);
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "there is no safe call for it")]
fn refuse_unasked_huge_pages() -> bool {
    use nix::libc::{PR_SET_THP_DISABLE, c_ulong, prctl};
    // From linux/prctl.h.
    const PR_THP_DISABLE_EXCEPT_ADVISED: c_ulong = 1 << 1;
    let (yes, none): (c_ulong, c_ulong) = (1, 0);
    // SAFETY: takes numbers only, and touches no memory of ours.
    unsafe { prctl(PR_SET_THP_DISABLE, yes, PR_THP_DISABLE_EXCEPT_ADVISED, none, none) == 0 }
}

/// Becomes `name` for good: its user and group, and no other groups.
pub(super) fn become_user(name: &str) -> Result<(), String> {
    if !getuid().is_root() {
        return Err("Must be root to switch users.".to_owned());
    }
    let user = User::from_name(name).ok().flatten().ok_or_else(|| format!("Could not find user : {name}"))?;
    let switched = setgroups(&[]).and_then(|()| setgid(user.gid)).and_then(|()| setuid(user.uid));
    switched.map_err(|error| format!("Could not switch to user {name}. ({})", error.desc()))
}

/// The host's name as handles carry it.
pub(super) fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}
