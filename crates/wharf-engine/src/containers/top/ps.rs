//! The words of ps(1), procps' one: which columns a user of `top` wants to see, of which processes.
//!
//! Words with a dash are read as System V has them, others as BSD has them; words with a dash that are no System V are
//! tried as BSD (`-aux`), as procps does it.

use std::str::Chars;

use super::choice::{self, Choice, Key};

/// A column: what it shows, and its heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) title: String,
}

/// What is to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) columns: Vec<Column>,
    /// Which processes.
    pub(super) choice: Choice,
    /// In which order; by their numbers if nothing is said.
    pub(super) order: Vec<Key>,
    /// A row for each thread.
    pub(super) threads: bool,
}

type Parsed<T> = Result<T, String>;

/// The words of ps, as far as they are read.
#[derive(Default)]
struct Words<'a> {
    rest: Vec<&'a str>,
    is_bsd: bool,
    format: &'static str,
    chosen: Vec<Column>,
    choice: Choice,
    order: Vec<Key>,
    has_no_head: bool,
    is_short: bool,
    has_class: bool,
    has_label: bool,
    /// The heading of the column of threads.
    threads: Option<&'static str>,
}

/// What `args` ask for; `-ef` if there are none.
///
/// # Errors
/// In the words of ps, or in dockerd's if it would not find the column of process ids.
pub(super) fn listing(args: &str) -> Parsed<Listing> {
    let mut rest: Vec<&str> = args.split_whitespace().rev().collect();
    if rest.is_empty() {
        rest.push("-ef");
    }
    let first = Words {
        rest: rest.clone(),
        ..Words::default()
    };
    let words = first.read(false).or_else(|error| {
        let second = Words {
            rest,
            ..Words::default()
        };
        second.read(true).map_err(|_| error)
    })?;
    let (choice, order) = (words.choice.clone(), words.order.clone());
    let threads = words.threads.is_some();
    let columns = words.columns()?;
    let has_pid = columns.iter().any(|column| column.title == "PID");
    if choice.is_nothing() {
        return Err("ps: exit status 1".to_owned());
    }
    match has_pid {
        true => Ok(Listing {
            columns,
            choice,
            order,
            threads,
        }),
        false => Err("Couldn't find PID field in ps output".to_owned()),
    }
}

fn error<T>(text: &str) -> Parsed<T> {
    Err(format!("ps: error: {text}"))
}

impl<'a> Words<'a> {
    /// Reads all words; `only_bsd`: those with a dash as well.
    fn read(mut self, only_bsd: bool) -> Parsed<Self> {
        while let Some(word) = self.rest.pop() {
            match word.strip_prefix('-') {
                None => self.bsd(word.chars())?,
                Some("" | "-") => return error("garbage option"),
                Some(long) if long.starts_with('-') => self.long(&long[1..])?,
                Some(letters) if only_bsd => self.bsd(letters.chars())?,
                Some(letters) => self.system_v(letters.chars())?,
            }
        }
        Ok(self)
    }

    fn system_v(&mut self, mut letters: Chars<'a>) -> Parsed<()> {
        while let Some(letter) = letters.next() {
            match letter {
                'A' | 'e' => self.choice.all = true,
                'a' => self.choice.seated = true,
                'd' => self.choice.no_leaders = true,
                'N' => self.choice.negated = true,
                'w' | 'H' => {}
                'f' => self.format = "-f",
                'F' => self.format = "-F",
                'l' => self.format = "-l",
                'j' => self.format = "-j",
                'y' => self.is_short = true,
                'c' => self.has_class = true,
                'M' | 'Z' => self.has_label = true,
                'L' => self.threads = Some("LWP"),
                'T' => self.threads = Some("SPID"),
                'o' => return self.columns_of(&mut letters, "-o"),
                'p' | 'q' => return self.processes(&mut letters, letter),
                _ => return error("unsupported SysV option"),
            }
        }
        Ok(())
    }

    fn bsd(&mut self, mut letters: Chars<'a>) -> Parsed<()> {
        self.is_bsd = true;
        while let Some(letter) = letters.next() {
            match letter {
                'a' => self.choice.bsd_a = true,
                'x' => self.choice.bsd_x = true,
                'g' | 'w' | 'f' | 'S' | 'n' => {}
                'u' => self.format = "u",
                'l' => self.format = "l",
                'j' => self.format = "j",
                'v' => self.format = "v",
                's' => self.format = "s",
                'X' => self.format = "X",
                'h' => self.has_no_head = true,
                'H' => self.threads = self.threads.or(Some("")),
                'M' | 'Z' => self.has_label = true,
                'o' => return self.columns_of(&mut letters, "o"),
                'p' => return self.processes(&mut letters, letter),
                'k' => {
                    let list = self.argument(&mut letters);
                    return self.sort(list, "'k'");
                }
                '0'..='9' => {
                    let list = format!("{letter}{}", letters.as_str());
                    return self.add_processes(&list);
                }
                _ => return error("unsupported option (BSD syntax)"),
            }
        }
        Ok(())
    }

    fn long(&mut self, word: &'a str) -> Parsed<()> {
        let (name, value) = word
            .split_once('=')
            .map_or((word, None), |(name, value)| (name, Some(value)));
        match name {
            "forest" | "headers" if value.is_none() => Ok(()),
            "deselect" if value.is_none() => {
                self.choice.negated = true;
                Ok(())
            }
            "no-headers" | "noheaders" | "no-heading" | "noheading" => {
                self.has_no_head = true;
                Ok(())
            }
            "sort" => {
                let list = value.or_else(|| self.rest.pop());
                self.sort(list, "--sort")
            }
            "cols" | "columns" | "width" | "rows" | "lines" => {
                let value = value.or_else(|| self.rest.pop());
                let text = format!("long option --{name} needs an argument");
                value.map_or_else(|| error(&text), |_| Ok(()))
            }
            "format" => match value.or_else(|| self.rest.pop()) {
                Some(list) => self.add_columns(list),
                None => error("format specification must follow --format"),
            },
            "pid" | "quick-pid" => match value.or_else(|| self.rest.pop()) {
                Some(list) => self.add_processes(list),
                None => error("list of process IDs must follow --pid"),
            },
            _ => error("unknown gnu long option"),
        }
    }

    /// What follows `word`: the columns to sort by.
    fn sort(&mut self, list: Option<&str>, word: &str) -> Parsed<()> {
        let Some(list) = list.filter(|list| !list.is_empty()) else {
            return error(&format!("long sort specification must follow {word}"));
        };
        let keys = choice::keys(list, |name| title(name).is_some());
        self.order = keys.or_else(error)?;
        Ok(())
    }

    /// What is left of the word, or the next one.
    fn argument(&mut self, letters: &mut Chars<'a>) -> Option<&'a str> {
        match letters.as_str() {
            "" => self.rest.pop(),
            rest => Some(rest),
        }
    }

    fn columns_of(&mut self, letters: &mut Chars<'a>, flag: &str) -> Parsed<()> {
        match self.argument(letters) {
            Some(list) => self.add_columns(list),
            None => error(&format!("format specification must follow {flag}")),
        }
    }

    /// `pid,comm:20,args=HEADING`: a heading goes to the end of the word.
    fn add_columns(&mut self, list: &str) -> Parsed<()> {
        let (list, heading) = match list.split_once('=') {
            Some((list, heading)) => (list, Some(heading)),
            None => (list, None),
        };
        let names: Vec<&str> = list.split(',').filter(|name| !name.is_empty()).collect();
        for (index, name) in names.iter().enumerate() {
            let name = name.split(':').next().unwrap_or(name);
            let Some(title) = title(name) else {
                return error(&format!("unknown user-defined format specifier \"{name}\""));
            };
            let heading = heading.filter(|_| index + 1 == names.len());
            self.chosen.push(Column {
                name: name.to_owned(),
                title: heading.unwrap_or(title).to_owned(),
            });
        }
        Ok(())
    }

    fn processes(&mut self, letters: &mut Chars<'a>, letter: char) -> Parsed<()> {
        match self.argument(letters) {
            Some(list) => self.add_processes(list),
            None => error(&format!("List of process IDs must follow -{letter}.")),
        }
    }

    fn add_processes(&mut self, list: &str) -> Parsed<()> {
        for number in list.split(',') {
            match number.parse() {
                Ok(pid) => self.choice.pids.push(pid),
                Err(_) => return error("process ID list syntax error"),
            }
        }
        Ok(())
    }

    fn columns(mut self) -> Parsed<Vec<Column>> {
        if self.is_short && self.format != "-l" {
            return error("modifier -y without format -l makes no sense");
        }
        let mut columns = match self.chosen.is_empty() {
            false => std::mem::take(&mut self.chosen),
            true => self.preset(),
        };
        if self.has_label {
            columns.insert(0, column("label"));
        }
        if self.has_no_head {
            columns.iter_mut().for_each(|column| column.title.clear());
        }
        Ok(columns)
    }

    /// The columns of a format that has a letter, or of none.
    fn preset(&self) -> Vec<Column> {
        let format = match self.format {
            "" if self.is_bsd => "bsd",
            "" => "sysv",
            format => format,
        };
        let list = PRESETS.iter().find(|(name, _)| *name == format);
        let list = list.map_or("", |(_, list)| *list);
        let mut columns = Vec::new();
        for name in list.split(' ') {
            match name {
                "f_name" => columns.push(titled("user", "UID")),
                "f" | "addr" if self.is_short => {}
                "sz" if self.is_short && format == "-l" => {
                    columns.extend([column("rss"), column("sz")]);
                }
                "c" if self.has_class => columns.push(column("cls")),
                "stime" if self.has_class => columns.extend([column("pri"), column("stime")]),
                name => columns.push(column(name)),
            }
            if let Some(title) = self.threads.filter(|title| !title.is_empty())
                && name == "pid"
            {
                columns.push(titled("lwp", title));
            }
        }
        columns
    }
}

fn titled(name: &str, title: &str) -> Column {
    Column {
        name: name.to_owned(),
        title: title.to_owned(),
    }
}

fn column(name: &str) -> Column {
    titled(name, title(name).unwrap_or_default())
}

/// Columns of the formats that have a letter. `f_name` is a user's name under the heading `UID`.
const PRESETS: &[(&str, &str)] = &[
    ("sysv", "pid tty time ucmd"),
    ("bsd", "pid tty stat bsdtime command"),
    ("-f", "f_name pid ppid c stime tty time cmd"),
    ("-F", "f_name pid ppid c sz rss psr stime tty time cmd"),
    (
        "-l",
        "f s uid pid ppid c opri ni addr sz wchan tty time ucmd",
    ),
    ("-j", "pid pgid sid tty time ucmd"),
    (
        "u",
        "user pid %cpu %mem vsz rss tty stat start_time bsdtime command",
    ),
    (
        "l",
        "f uid pid ppid priority ni vsz rss wchan stat tty bsdtime command",
    ),
    ("j", "ppid pid pgid sid tty tpgid stat uid bsdtime command"),
    ("v", "pid tty stat bsdtime maj_flt trs drs rss %mem command"),
    (
        "s",
        "uid pid pending blocked ignored caught stat tty bsdtime command",
    ),
    (
        "X",
        "pid stackp esp eip tmout alarm stat tty bsdtime command",
    ),
];

/// ps's heading of a column; none for an unknown one.
fn title(name: &str) -> Option<&'static str> {
    Some(match name {
        "uid" => "UID",
        "euid" => "EUID",
        "ruid" => "RUID",
        "user" | "uname" => "USER",
        "euser" => "EUSER",
        "ruser" => "RUSER",
        "group" => "GROUP",
        "egroup" => "EGROUP",
        "gid" => "GID",
        "egid" => "EGID",
        "rgid" => "RGID",
        "rgroup" => "RGROUP",
        "suid" => "SUID",
        "svuid" => "SVUID",
        "suser" => "SUSER",
        "svuser" => "SVUSER",
        "sgid" => "SGID",
        "svgid" => "SVGID",
        "sgroup" => "SGROUP",
        "svgroup" => "SVGROUP",
        "fuid" => "FUID",
        "fsuid" => "FSUID",
        "fuser" => "FUSER",
        "fsuser" => "FSUSER",
        "fgid" => "FGID",
        "fsgid" => "FSGID",
        "fgroup" => "FGROUP",
        "fsgroup" => "FSGROUP",
        "pid" => "PID",
        "tgid" => "TGID",
        "ppid" => "PPID",
        "pgid" | "pgrp" => "PGID",
        "sid" => "SID",
        "sess" => "SESS",
        "lwp" => "LWP",
        "spid" => "SPID",
        "tid" => "TID",
        "tpgid" => "TPGID",
        "c" => "C",
        "%cpu" | "pcpu" => "%CPU",
        "%mem" | "pmem" => "%MEM",
        "vsz" | "vsize" => "VSZ",
        "rss" => "RSS",
        "rssize" | "rsz" => "RSZ",
        "sz" => "SZ",
        "trs" => "TRS",
        "drs" => "DRS",
        "maj_flt" | "majflt" => "MAJFL",
        "min_flt" | "minflt" => "MINFL",
        "psr" => "PSR",
        "cls" => "CLS",
        "f" | "flag" | "flags" => "F",
        "addr" => "ADDR",
        "wchan" => "WCHAN",
        "label" => "LABEL",
        "cgroup" => "CGROUP",
        "tty" | "tname" => "TTY",
        "tt" => "TT",
        "stat" => "STAT",
        "s" | "state" => "S",
        "start" | "lstart" => "STARTED",
        "start_time" => "START",
        "stime" => "STIME",
        "time" | "cputime" | "bsdtime" => "TIME",
        "etime" => "ELAPSED",
        "etimes" => "ELAPSED",
        "ni" | "nice" => "NI",
        "pri" | "priority" | "opri" => "PRI",
        "nlwp" => "NLWP",
        "thcount" => "THCNT",
        "pending" | "sig_pend" => "PENDING",
        "blocked" | "sig_block" => "BLOCKED",
        "ignored" | "sig_ignore" => "IGNORED",
        "caught" | "sig_catch" => "CAUGHT",
        "stackp" => "STACKP",
        "esp" => "ESP",
        "eip" => "EIP",
        "tmout" => "TMOUT",
        "alarm" => "ALARM",
        "cmd" => "CMD",
        "args" | "command" => "COMMAND",
        "comm" | "fname" => "COMMAND",
        "ucmd" | "ucomm" => "CMD",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::listing;

    fn titles(args: &str) -> String {
        let titles = |listing: super::Listing| {
            let titles = listing.columns.into_iter().map(|column| column.title);
            titles.collect::<Vec<_>>().join(" ")
        };
        listing(args).map_or_else(|error| error, titles)
    }

    #[test]
    fn formats_are_those_of_ps() {
        for (args, expected) in [
            ("", "UID PID PPID C STIME TTY TIME CMD"),
            ("-e", "PID TTY TIME CMD"),
            ("ax", "PID TTY STAT TIME COMMAND"),
            ("-x", "PID TTY STAT TIME COMMAND"),
            ("-eF", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
            ("-l", "F S UID PID PPID C PRI NI ADDR SZ WCHAN TTY TIME CMD"),
            ("-ly", "S UID PID PPID C PRI NI RSS SZ WCHAN TTY TIME CMD"),
            ("-fc", "UID PID PPID CLS PRI STIME TTY TIME CMD"),
            ("-Z", "LABEL PID TTY TIME CMD"),
            ("-L", "PID LWP TTY TIME CMD"),
            (
                "-aux",
                "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
            ),
            ("-eo pid,args", "PID COMMAND"),
            ("-opid -o comm=NAME", "PID NAME"),
            ("-o pid:20,user,rss=A,B", "PID USER A,B"),
            ("-e --sort pid", "PID TTY TIME CMD"),
        ] {
            assert_eq!(titles(args), expected, "{args}");
        }
    }

    #[test]
    fn mistakes_are_said_as_ps_says_them() {
        let no_pid = "Couldn't find PID field in ps output";
        for (args, expected) in [
            ("xyz", "ps: error: unsupported option (BSD syntax)"),
            (
                "nope",
                "ps: error: unknown user-defined format specifier \"pe\"",
            ),
            ("-o", "ps: error: format specification must follow -o"),
            (
                "-o nope",
                "ps: error: unknown user-defined format specifier \"nope\"",
            ),
            ("-o comm", no_pid),
            ("-o pid=X", no_pid),
            ("--no-headers", no_pid),
            ("-i", "ps: error: unsupported SysV option"),
            (
                "-y",
                "ps: error: modifier -y without format -l makes no sense",
            ),
            ("--foo", "ps: error: unknown gnu long option"),
            ("--", "ps: error: garbage option"),
            ("pid", "ps: error: process ID list syntax error"),
            ("k", "ps: error: long sort specification must follow 'k'"),
            (
                "--sort",
                "ps: error: long sort specification must follow --sort",
            ),
            ("-e --sort=nope", "ps: error: unknown sort specifier"),
            ("-e --deselect", "ps: exit status 1"),
        ] {
            assert_eq!(titles(args), expected, "{args}");
        }
    }

    #[test]
    fn processes_are_chosen_by_number() {
        assert_eq!(listing("-p 1,2").unwrap().choice.pids, [1, 2]);
        assert_eq!(listing("-1").unwrap().choice.pids, [1]);
        assert!(listing("-ef").unwrap().choice.pids.is_empty());
        let rest = listing("-p 1 --deselect").unwrap().choice;
        assert!(rest.negated && rest.pids == [1]);
        let sorted = listing("ax k-rss,pid").unwrap().order;
        assert_eq!(sorted.len(), 2);
    }
}
