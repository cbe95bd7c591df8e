//! What the kernel says of a process in one line (proc_pid_stat(5)).

use std::fs::File;
use std::io::Read as _;

/// The line of a process or a thread.
#[derive(Clone, Debug)]
pub struct Stat {
    line: String,
    /// Where the name ends, which may hold anything, brackets too.
    behind: usize,
}

/// More than the kernel ever writes: it is read at once.
const LONGEST: usize = 2048;
/// The state is the third field of the line, the first one behind the name.
const STATE: usize = 3;

impl Stat {
    /// Of a process; `None` if there is none.
    pub fn of(pid: i32) -> Option<Self> {
        Self::read(&format!("/proc/{pid}/stat"))
    }

    /// The file at `path`, of a process or a thread; `None` if that is gone.
    pub fn read(path: &str) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        let length = File::open(path).ok()?.read(&mut bytes).ok()?;
        Self::parse(String::from_utf8_lossy(bytes.get(..length)?).into_owned())
    }

    fn parse(line: String) -> Option<Self> {
        let behind = line.rfind(')')?;
        line.get(..behind)?.find('(')?;
        Some(Self { line, behind })
    }

    /// What it calls itself.
    pub fn name(&self) -> &str {
        let before = self.line.get(..self.behind).unwrap_or_default();
        before.split_once('(').map_or("", |(_, name)| name)
    }

    /// A field behind the name, by its number in the manual page.
    pub fn field(&self, number: usize) -> Option<&str> {
        let mut fields = self.line.get(self.behind + 1..)?.split_ascii_whitespace();
        fields.nth(number.checked_sub(STATE)?)
    }

    /// `R`, `S`, `T` if it is stopped, `t` if a tracer holds it, `Z` if nobody has asked for its end yet.
    pub fn state(&self) -> &str {
        self.field(STATE).unwrap_or_default()
    }

    /// The process that made it, or that it was given to.
    pub fn parent(&self) -> i32 {
        let parent = self.field(4).and_then(|pid| pid.parse().ok());
        parent.unwrap_or_default()
    }

    /// How it has ended, as a shell has it: 128 and the signal, if it was one. `None` if it runs. To who may not trace it the kernel
    /// tells of none (`PTRACE_MODE_READ_FSCREDS`), and all look like 0.
    pub fn code(&self) -> Option<i32> {
        let status: i32 = match self.state() {
            "Z" => self.field(52)?.parse().ok()?,
            _ => return None,
        };
        Some(match status & 0x7f {
            0 => (status >> 8) & 0xff,
            signal => 128 + signal,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(state: &str, code: i32) -> Stat {
        let between = "0 ".repeat(47);
        Stat::parse(format!("7 (a) Z (b) {state} 5 {between}{code}\n")).expect("a line")
    }

    #[test]
    fn an_end_that_nobody_has_asked_for_is_read() {
        assert_eq!(stat("Z", 3 << 8).code(), Some(3));
        assert_eq!(stat("Z", 9).code(), Some(137));
        // It has left a core.
        assert_eq!(stat("Z", 0x80 | 11).code(), Some(139));
        assert_eq!(stat("S", 0).code(), None);
        let stopped = stat("T", 0);
        assert_eq!((stopped.state(), stopped.parent()), ("T", 5));
        assert_eq!(stopped.name(), "a) Z (b");
        assert!(Stat::parse("7 a) b (".to_owned()).is_none());
    }

    #[test]
    fn a_child_is_one_until_it_is_buried() {
        let mut child = std::process::Command::new("sh");
        let mut child = child.args(["-c", "exit 5"]).spawn().expect("spawn");
        let pid = i32::try_from(child.id()).expect("a number");
        let ended = loop {
            let stat = Stat::of(pid).expect("it is there");
            if stat.code().is_some() {
                break stat;
            }
            std::thread::yield_now();
        };
        assert_eq!((ended.name(), ended.code()), ("sh", Some(5)));
        assert_eq!(ended.parent().unsigned_abs(), std::process::id());
        child.wait().expect("wait");
        assert!(Stat::of(pid).is_none());
    }
}
