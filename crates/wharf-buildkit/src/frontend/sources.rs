//! What of the context a Dockerfile wants, so that the client sends no more than that.

use std::collections::BTreeSet;

use wharf_dockerfile::{Copy, Dockerfile, Instruction, Source};

use super::ignore::clean;

/// What a build wants of its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing at all.
    Nothing,
    /// These files and folders, or patterns.
    Only(Vec<String>),
    /// Everything, or what only the build itself will tell.
    All,
}

/// What the stages up to `target` want.
pub(crate) fn of(file: &Dockerfile, target: &str) -> Wanted {
    let mut paths = BTreeSet::new();
    let lower = target.to_ascii_lowercase();
    for (number, stage) in file.stages.iter().enumerate() {
        for located in &stage.instructions {
            if !instruction(&located.instruction, &mut paths) {
                return Wanted::All;
            }
        }
        let named = stage.from.name.as_ref() == Some(&lower);
        if !target.is_empty() && (named || target.parse() == Ok(number)) {
            break;
        }
    }
    match paths.is_empty() {
        true => Wanted::Nothing,
        false => Wanted::Only(paths.into_iter().collect()),
    }
}

/// Adds what an instruction wants; whether that can be told.
fn instruction(instruction: &Instruction, paths: &mut BTreeSet<String>) -> bool {
    match instruction {
        Instruction::Copy(one) => copy(one, paths),
        Instruction::Add(add) => copy(&add.copy, paths),
        Instruction::Run(run) => run.mounts.iter().all(|mount| {
            let field = |names: &[&str]| {
                let mut fields = mount.fields.iter();
                let found = fields.find(|(name, _)| names.contains(&name.as_str()));
                found.and_then(|(_, value)| value.as_deref())
            };
            if field(&["type"]).unwrap_or("bind") != "bind" || field(&["from"]).is_some() {
                return true;
            }
            path(field(&["source", "src"]).unwrap_or("/"), paths)
        }),
        _ => true,
    }
}

fn copy(copy: &Copy, paths: &mut BTreeSet<String>) -> bool {
    if copy.from.is_some() {
        return true;
    }
    copy.sources.iter().all(|source| match source {
        Source::Path(text) if is_remote(text) => true,
        Source::Path(text) => path(text, paths),
        _ => true,
    })
}

fn is_remote(text: &str) -> bool {
    ["http://", "https://", "git@", "git://", "ssh://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

fn path(text: &str, paths: &mut BTreeSet<String>) -> bool {
    if text.contains(['$', '\\']) {
        return false;
    }
    let clean = clean(&format!("/{text}"));
    match clean.strip_prefix('/') {
        None | Some("") => false,
        Some(inside) => {
            paths.insert(inside.to_owned());
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Wanted {
        of(&Dockerfile::parse(text).unwrap(), "")
    }

    fn only(paths: &[&str]) -> Wanted {
        Wanted::Only(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn only_what_is_copied_is_wanted() {
        assert_eq!(check("FROM a\nRUN x\n"), Wanted::Nothing);
        assert_eq!(
            check("FROM a\nCOPY b ../c /d/ /x/\n"),
            only(&["b", "c", "d"])
        );
        assert_eq!(
            check("FROM a\nCOPY *.go /\nCOPY --from=b c /\n"),
            only(&["*.go"])
        );
        assert_eq!(
            check("FROM a\nADD https://x.invalid/y /\n"),
            Wanted::Nothing
        );
        assert_eq!(check("FROM a\nCOPY . /\n"), Wanted::All);
        assert_eq!(check("FROM a\nARG V\nCOPY $V /\n"), Wanted::All);
        assert_eq!(check("FROM a\nRUN --mount=target=/x y\n"), Wanted::All);
        assert_eq!(
            check("FROM a\nRUN --mount=source=s,target=/x y\n"),
            only(&["s"])
        );
        assert_eq!(
            check("FROM a\nRUN --mount=type=cache,target=/x y\n"),
            Wanted::Nothing
        );
    }
}
