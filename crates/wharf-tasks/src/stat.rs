//! What the kernel says of a process in one line (proc_pid_stat(5)).

/// The fields behind the name, which may hold anything.
#[derive(Debug)]
pub(crate) struct Stat(Vec<String>);

/// The state is the third field of the line.
const FIRST: usize = 3;

impl Stat {
    /// `None` if there is no such process.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        let (_, behind) = line.rsplit_once(')')?;
        Some(Self(behind.split_whitespace().map(str::to_owned).collect()))
    }

    /// A field by its number in the manual page.
    fn field(&self, number: usize) -> Option<&str> {
        self.0.get(number.checked_sub(FIRST)?).map(String::as_str)
    }

    /// `R`, `S`, `T` if it is stopped, `t` if a tracer holds it, `Z` if nobody has asked for its end yet.
    pub(crate) fn state(&self) -> &str {
        self.field(3).unwrap_or_default()
    }

    pub(crate) fn parent(&self) -> i32 {
        let parent = self.field(4).and_then(|pid| pid.parse().ok());
        parent.unwrap_or_default()
    }

    /// How it has ended, as a shell has it: 128 and the signal, if it was one. `None` if it runs.
    pub(crate) fn code(&self) -> Option<i32> {
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
        Stat::parse(&format!("7 (a) Z (b) {state} 5 {between}{code}\n")).unwrap()
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
    }

    #[test]
    fn a_child_is_one_until_it_is_buried() {
        let mut child = std::process::Command::new("sh");
        let mut child = child.args(["-c", "exit 5"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        while Stat::of(pid).unwrap().code().is_none() {
            std::thread::yield_now();
        }
        let stat = Stat::of(pid).unwrap();
        assert_eq!(stat.code(), Some(5));
        assert_eq!(stat.parent().unsigned_abs(), std::process::id());
        child.wait().unwrap();
        assert!(Stat::of(pid).is_none());
    }
}
