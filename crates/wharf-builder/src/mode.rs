//! Modes in letters, as `chmod` takes them: `u=rwX,go-w`.

/// One clause: whom, how, what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clause {
    /// Bits of all who are meant.
    whom: u32,
    how: How,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Add,
    Remove,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct What {
    /// Bits for everybody; whom it is for is another matter.
    bits: u32,
    /// `X`: to execute, for folders and for what somebody may execute.
    execute_if_any: bool,
    /// Those of another class, as it has them now.
    copied: Option<Class>,
}

/// Whose bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    User,
    Group,
    Other,
}

/// A change of modes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChange(Vec<Clause>);

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHER: u32 = 0o1007;
const EXECUTE: u32 = 0o111;

impl ModeChange {
    /// Reads one; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut clauses = Vec::new();
        for part in text.split(',') {
            let at = part.find(['+', '-', '='])?;
            let whom = whom(part.get(..at)?)?;
            let mut rest = part.get(at..)?;
            while let Some(sign) = rest.chars().next() {
                let end = rest[1..]
                    .find(['+', '-', '='])
                    .map_or(rest.len(), |end| end + 1);
                clauses.push(Clause {
                    whom,
                    how: match sign {
                        '+' => How::Add,
                        '-' => How::Remove,
                        _ => How::Set,
                    },
                    what: what(&rest[1..end])?,
                });
                rest = &rest[end..];
            }
        }
        Some(Self(clauses))
    }

    /// What it makes of a mode.
    pub fn of(&self, mode: u32, is_folder: bool) -> u32 {
        self.0.iter().fold(mode & 0o7777, |mode, clause| {
            let bits = clause.what.bits_for(mode, is_folder) & clause.whom;
            match clause.how {
                How::Add => mode | bits,
                How::Remove => mode & !bits,
                How::Set => mode & !clause.whom | bits,
            }
        })
    }
}

impl What {
    fn bits_for(self, mode: u32, is_folder: bool) -> u32 {
        let execute = self.execute_if_any && (is_folder || mode & EXECUTE != 0);
        let copied = self.copied.map_or(0, |class| {
            let own = match class {
                Class::User => mode >> 6,
                Class::Group => mode >> 3,
                Class::Other => mode,
            };
            (own & 7) * EXECUTE
        });
        self.bits | copied | if execute { EXECUTE } else { 0 }
    }
}

/// Everybody, if nobody is named.
fn whom(text: &str) -> Option<u32> {
    if text.is_empty() {
        return Some(USER | GROUP | OTHER);
    }
    text.chars().try_fold(0, |whom, letter| {
        Some(
            whom | match letter {
                'u' => USER,
                'g' => GROUP,
                'o' => OTHER,
                'a' => USER | GROUP | OTHER,
                _ => return None,
            },
        )
    })
}

fn what(text: &str) -> Option<What> {
    let mut what = What {
        bits: 0,
        execute_if_any: false,
        copied: match text {
            "u" => Some(Class::User),
            "g" => Some(Class::Group),
            "o" => Some(Class::Other),
            _ => None,
        },
    };
    if what.copied.is_some() {
        return Some(what);
    }
    for letter in text.chars() {
        match letter {
            'r' => what.bits |= 0o444,
            'w' => what.bits |= 0o222,
            'x' => what.bits |= EXECUTE,
            'X' => what.execute_if_any = true,
            's' => what.bits |= 0o6000,
            't' => what.bits |= 0o1000,
            _ => return None,
        }
    }
    Some(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, mode: u32, is_folder: bool) -> u32 {
        ModeChange::parse(text).unwrap().of(mode, is_folder)
    }

    #[test]
    fn modes_change_as_chmod_changes_them() {
        assert_eq!(of("u=rwX,go=rX", 0o640, false), 0o644);
        assert_eq!(of("u=rwX,go=rX", 0o640, true), 0o755);
        assert_eq!(of("u=rwX,go=rX", 0o700, false), 0o755);
        assert_eq!(of("+x", 0o644, false), 0o755);
        assert_eq!(of("a-w", 0o666, false), 0o444);
        assert_eq!(of("g=u,o=", 0o751, false), 0o770);
        assert_eq!(of("u+s,g+s,+t", 0o755, false), 0o7755);
        assert_eq!(of("u=rw-w+x", 0o000, false), 0o500);
    }

    #[test]
    fn what_is_no_change_is_none() {
        for text in ["", "u~x", "u", "q+x", "u+q", "u+x,", "9"] {
            assert!(ModeChange::parse(text).is_none(), "{text:?}");
        }
    }
}
