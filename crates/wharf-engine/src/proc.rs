//! What `/proc` says about a process.

use wharf_sys::stat::Stat;

/// A file of the process `pid`. A process calls itself whatever it likes, and need not make it text.
fn text(pid: u32, name: &str) -> Option<String> {
    text_of(&format!("/proc/{pid}/{name}"))
}

/// No more than this: a process says itself where its arguments begin and end (`PR_SET_MM_MAP`, prctl(2)), gigabytes of them.
const LIMIT: u64 = 1 << 20;

fn text_of(path: &str) -> Option<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether `signal` would do nothing to the process `pid`: it has neither a handler for it nor blocks it (to
/// take it by `sigwait` or `signalfd`), and is the first of its PID namespace, or ignores it by choice.
/// See pid_namespaces(7), "The namespace init process".
pub(crate) fn ignores(pid: u32, signal: i32) -> bool {
    let status = text(pid, "status").unwrap_or_default();
    ignores_by(&status, signal)
}

fn ignores_by(status: &str, signal: i32) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let bit = |name: &str| {
        let set = field(name).and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        set.is_some_and(|set| (1..=64).contains(&signal) && set >> (signal - 1) & 1 == 1)
    };
    if field("SigCgt:").is_none() || bit("SigCgt:") || bit("SigBlk:") {
        return false;
    }
    let first = field("NSpid:").and_then(|ids| ids.split_whitespace().last()) == Some("1");
    let nested = field("NSpid:").is_some_and(|ids| ids.split_whitespace().count() > 1);
    bit("SigIgn:") || (first && nested)
}

/// Set in the flags of a process from the moment it ends (`include/linux/sched.h`).
const PF_EXITING: u64 = 0x4;

/// Whether the process `pid` is ending or has ended.
pub(crate) fn is_ending(pid: u32) -> bool {
    let Some(stat) = text(pid, "stat") else {
        return true;
    };
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = fields.split_whitespace();
    let is_dead = matches!(fields.next(), Some("Z" | "X"));
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u64>().ok());
    is_dead || flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

/// Clock ticks per second that `/proc/<pid>/stat` counts in; 100 on every Linux that we run on (USER_HZ).
const TICKS: u64 = 100;

/// A process as `/proc` shows it.
pub(crate) struct Process {
    pid: u32,
    /// Of the thread; the process's own of its first one.
    tid: u32,
    stat: Stat,
    command: String,
    uid: u32,
    ruid: u32,
    gid: u32,
    /// proc_pid_status(5).
    status: String,
    /// KiB in memory.
    rss: u64,
    /// Seconds since the start of the machine.
    uptime: u64,
    now: i64,
}

impl Process {
    /// The process `pid`, while there is one.
    pub(crate) fn read(pid: u32) -> Option<Self> {
        Self::read_from(&format!("/proc/{pid}"), pid, pid)
    }

    /// Its threads.
    pub(crate) fn read_threads(pid: u32) -> Vec<Self> {
        let folder = format!("/proc/{pid}/task");
        let threads = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut threads: Vec<u32> = threads
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        threads.sort_unstable();
        let read = |tid| Self::read_from(&format!("{folder}/{tid}"), pid, tid);
        threads.into_iter().filter_map(read).collect()
    }

    fn read_from(folder: &str, pid: u32, tid: u32) -> Option<Self> {
        let read = |name: &str| text_of(&format!("{folder}/{name}"));
        let stat = Stat::read(&format!("{folder}/stat"))?;
        let cmdline = read("cmdline")?;
        let words: Vec<&str> = cmdline
            .split('\0')
            .filter(|word| !word.is_empty())
            .collect();
        let status = read("status")?;
        let id = |name: &str, number: usize| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(number)?.parse().ok()
        };
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let uptime = uptime.split('.').next()?.parse().ok()?;
        let command = match words.is_empty() {
            true => format!("[{}]", stat.name()),
            false => words.join(" "),
        };
        let (ruid, uid, gid) = (id("Uid:", 0)?, id("Uid:", 1)?, id("Gid:", 1)?);
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        let now = jiff::Timestamp::now().as_second();
        Some(Self {
            pid,
            tid,
            stat,
            command,
            uid,
            ruid,
            gid,
            status,
            rss,
            uptime,
            now,
        })
    }

    /// The text of one of ps's columns; `-` for one that we do not have.
    pub(crate) fn column(&self, name: &str) -> String {
        match name {
            "uid" | "euid" => self.uid.to_string(),
            "ruid" => self.ruid.to_string(),
            "user" | "uname" | "euser" => id_name("/etc/passwd", self.uid),
            "ruser" => id_name("/etc/passwd", self.ruid),
            "group" | "egroup" => id_name("/etc/group", self.gid),
            "gid" | "egid" => self.gid.to_string(),
            "rgid" => self.id("Gid:", 0).to_string(),
            "rgroup" => id_name("/etc/group", self.id("Gid:", 0)),
            "suid" | "svuid" => self.id("Uid:", 2).to_string(),
            "suser" | "svuser" => id_name("/etc/passwd", self.id("Uid:", 2)),
            "sgid" | "svgid" => self.id("Gid:", 2).to_string(),
            "sgroup" | "svgroup" => id_name("/etc/group", self.id("Gid:", 2)),
            "fuid" | "fsuid" => self.id("Uid:", 3).to_string(),
            "fuser" | "fsuser" => id_name("/etc/passwd", self.id("Uid:", 3)),
            "fgid" | "fsgid" => self.id("Gid:", 3).to_string(),
            "fgroup" | "fsgroup" => id_name("/etc/group", self.id("Gid:", 3)),
            "pid" | "tgid" => self.pid.to_string(),
            "lwp" | "spid" | "tid" => self.tid.to_string(),
            "c" => (self.permille() / 10).min(99).to_string(),
            "%cpu" | "pcpu" => tenths(self.permille()),
            "%mem" | "pmem" => tenths(self.rss * 1000 / memory().max(1)),
            "rss" | "rssize" | "rsz" => self.rss.to_string(),
            "tty" | "tt" | "tname" => self.tty(),
            "stat" => self.state_and_flags(),
            "s" | "state" => self.text(3).to_owned(),
            "start" | "lstart" | "stime" | "start_time" => self.started(name),
            "time" | "cputime" => clock(self.seconds()),
            "bsdtime" => format!("{}:{:02}", self.seconds() / 60, self.seconds() % 60),
            "etime" => elapsed(self.age()),
            "etimes" => self.age().to_string(),
            // What those that show a time are sorted by.
            "cputimes" => self.seconds().to_string(),
            "started" => self.field(22).to_string(),
            "cmd" | "args" | "command" => self.command.clone(),
            "comm" | "fname" | "ucmd" | "ucomm" => self.stat.name().to_owned(),
            "wchan" => self.file("wchan").chars().take(6).collect(),
            "label" => self.file("attr/current"),
            "cgroup" => self.file("cgroup").replace('\n', ","),
            name => self.number(name),
        }
    }

    /// One of the four ids of a kind in proc_pid_status(5): the real, effective, saved and the file system's.
    fn id(&self, kind: &str, which: usize) -> u32 {
        let ids = self.status.lines().find_map(|line| line.strip_prefix(kind));
        let id = ids.and_then(|ids| ids.split_whitespace().nth(which)?.parse().ok());
        id.unwrap_or_default()
    }

    /// A column that is a field of proc_pid_stat(5), or follows from some.
    fn number(&self, name: &str) -> String {
        let number = |number: usize| self.field(number).to_string();
        let priority = |change: fn(i64) -> i64| {
            let priority = self.text(18).parse().map_or(0, change);
            priority.to_string()
        };
        match name {
            "ppid" => number(4),
            "pgid" | "pgrp" => number(5),
            "sid" | "sess" => number(6),
            "tpgid" => self.text(8).to_owned(),
            // What ps shows of the flags: forked and has not executed, has used privileges.
            "f" | "flag" | "flags" => (self.field(9) >> 6 & 7).to_string(),
            "min_flt" | "minflt" => number(10),
            "maj_flt" | "majflt" => number(12),
            "pri" => priority(|priority| 39 - priority),
            "opri" => priority(|priority| 60 + priority),
            "priority" => self.text(18).to_owned(),
            "ni" | "nice" => self.text(19).to_owned(),
            "nlwp" | "thcount" => number(20),
            "vsz" | "vsize" => (self.field(23) / 1024).to_string(),
            "sz" => (self.field(23) / 4096).to_string(),
            "trs" => self.code().to_string(),
            "drs" => (self.field(23) / 1024)
                .saturating_sub(self.code())
                .to_string(),
            "stackp" => format!("{:016x}", self.field(28)),
            "esp" => format!("{:016x}", self.field(29)),
            "eip" => format!("{:016x}", self.field(30)),
            "psr" => number(39),
            "cls" => self.class().to_owned(),
            "pending" | "sig_pend" => self.mask("SigPnd:"),
            "blocked" | "sig_block" => self.mask("SigBlk:"),
            "ignored" | "sig_ignore" => self.mask("SigIgn:"),
            "caught" | "sig_catch" => self.mask("SigCgt:"),
            _ => "-".to_owned(),
        }
    }

    /// KiB of code.
    fn code(&self) -> u64 {
        self.field(27).saturating_sub(self.field(26)) / 1024
    }

    /// The scheduling class (sched(7)) in ps's letters.
    fn class(&self) -> &'static str {
        match self.field(41) {
            0 => "TS",
            1 => "FF",
            2 => "RR",
            3 => "B",
            5 => "IDL",
            6 => "DLN",
            _ => "?",
        }
    }

    fn mask(&self, name: &str) -> String {
        let mut lines = self.status.lines();
        let found = lines.find_map(|line| line.strip_prefix(name));
        found.map_or("-", str::trim).to_owned()
    }

    /// A file of the process; `-` if it cannot be read or says nothing.
    fn file(&self, name: &str) -> String {
        let path = format!("/proc/{}/task/{}/{name}", self.pid, self.tid);
        let text = text_of(&path).unwrap_or_default();
        match text.trim_matches(['\0', '\n']) {
            "" | "0" => "-".to_owned(),
            text => text.to_owned(),
        }
    }

    /// ps(1), "PROCESS STATE CODES".
    fn state_and_flags(&self) -> String {
        let nice: i64 = self.text(19).parse().unwrap_or(0);
        let mut locked = self.status.lines();
        let locked = locked.find_map(|line| line.strip_prefix("VmLck:"));
        let locked = locked.is_some_and(|line| !line.trim().starts_with("0 "));
        let flags = [
            (nice < 0, '<'),
            (nice > 0, 'N'),
            (locked, 'L'),
            (self.text(6) == self.pid.to_string(), 's'),
            (self.field(20) > 1, 'l'),
            (self.text(8) == self.text(5), '+'),
        ];
        let mut text = self.text(3).to_owned();
        text.extend(flags.iter().filter(|(is, _)| *is).map(|(_, flag)| *flag));
        text
    }

    /// A field of proc_pid_stat(5), by its number there.
    fn text(&self, number: usize) -> &str {
        self.stat.field(number).unwrap_or("-")
    }

    fn field(&self, number: usize) -> u64 {
        self.text(number).parse().unwrap_or(0)
    }

    /// Seconds since its start.
    fn age(&self) -> u64 {
        self.uptime.saturating_sub(self.field(22) / TICKS)
    }

    /// Of processor time.
    fn seconds(&self) -> u64 {
        (self.field(14) + self.field(15)) / TICKS
    }

    /// Thousandths of a CPU over its life.
    fn permille(&self) -> u64 {
        (self.field(14) + self.field(15)) * 1000 / TICKS / self.age().max(1)
    }

    fn tty(&self) -> String {
        let number = self.field(7);
        let (major, minor) = (
            number >> 8 & 0xfff,
            (number & 0xff) | (number >> 12 & 0xfff00),
        );
        match major {
            136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
            4 => format!("tty{minor}"),
            _ => "?".to_owned(),
        }
    }

    fn started(&self, column: &str) -> String {
        let age = i64::try_from(self.age()).unwrap_or(0);
        let start = jiff::Timestamp::from_second(self.now - age).unwrap_or_default();
        let start = start.to_zoned(jiff::tz::TimeZone::system());
        let format = match column {
            "lstart" => "%a %b %e %H:%M:%S %Y",
            "start" if age < 24 * 3600 => "%H:%M:%S",
            "start" => "%b %d",
            _ if age < 24 * 3600 => "%H:%M",
            _ => "%b%d",
        };
        start.strftime(format).to_string()
    }
}

fn tenths(permille: u64) -> String {
    format!("{}.{}", permille / 10, permille % 10)
}

fn clock(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

fn elapsed(seconds: u64) -> String {
    match seconds {
        86_400.. => format!("{}-{}", seconds / 86_400, clock(seconds % 86_400)),
        3600.. => clock(seconds),
        _ => format!("{:02}:{:02}", seconds / 60, seconds % 60),
    }
}

/// KiB of the machine's memory.
fn memory() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let number = total.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(1)
}

/// The host's name of an id, as ps shows it; the number if it has none.
fn id_name(file: &str, id: u32) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let number = id.to_string();
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|fields| fields.get(2) == Some(&number.as_str()));
    let name = found.and_then(|fields| fields.first().map(|name| (*name).to_owned()));
    name.unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, Process, ignores_by, is_ending, text};

    #[test]
    fn knows_who_would_not_hear() {
        let status = |nspid: &str, blocked: u64, ignored: u64, caught: u64| {
            format!(
                "NSpid:\t{nspid}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
            )
        };
        let term = 1 << 14;
        assert!(ignores_by(&status("99 1", 0, 0, 0), 15));
        assert!(!ignores_by(&status("99 1", 0, 0, term), 15));
        assert!(!ignores_by(&status("99 1", term, 0, 0), 15));
        assert!(!ignores_by(&status("99 2", 0, 0, 0), 15));
        assert!(!ignores_by(&status("1", 0, 0, 0), 15));
        assert!(ignores_by(&status("99 2", 0, term, 0), 15));
        assert!(!ignores_by("", 15));
    }

    #[test]
    fn reads_itself() {
        let process = Process::read(std::process::id()).unwrap();
        assert_eq!(process.column("pid"), std::process::id().to_string());
        assert!(process.column("rss").parse::<u64>().unwrap() > 0);
        assert_eq!(process.column("user"), "root");
        assert_eq!(process.column("uid"), "0");
        for (column, text) in [("rgroup", "root"), ("suid", "0"), ("fsgroup", "root")] {
            assert_eq!(process.column(column), text);
        }
        assert_eq!(process.column("tid"), process.column("pid"));
        let threads = Process::read_threads(std::process::id());
        assert_eq!(threads[0].column("pid"), process.column("pid"));
        assert!(Process::read(u32::MAX).is_none());
    }

    /// What a process makes of its arguments is read to a limit; here they are what a program was started with.
    #[test]
    fn not_more_is_read_than_can_be_shown() {
        let words: Vec<String> = (0..16).map(|_| "x".repeat(100_000)).collect();
        let mut child = std::process::Command::new("sh");
        // Until its input ends.
        let child = child.args(["-c", "read line", "sh"]).args(&words);
        let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
        // The kernel shows none while it puts the program in place.
        let read = loop {
            let read = text(child.id(), "cmdline").unwrap();
            if !read.is_empty() {
                break read;
            }
            std::thread::yield_now();
        };
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(read.len() as u64, LIMIT);
    }

    #[test]
    fn a_process_is_there_whatever_it_calls_itself() {
        let own = std::process::id();
        let name = std::fs::read("/proc/self/comm").unwrap();
        for other in [&b"\xff\xfe"[..], b") Z 1 (", b"a)\xc3"] {
            std::fs::write("/proc/self/comm", other).unwrap();
            assert!(!is_ending(own), "{other:?}");
            assert!(Process::read(own).is_some(), "{other:?}");
        }
        std::fs::write("/proc/self/comm", name.trim_ascii_end()).unwrap();
        assert!(is_ending(u32::MAX));
    }
}
