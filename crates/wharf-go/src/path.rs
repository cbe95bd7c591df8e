//! Paths as texts (`path`, `path/filepath` on Unix). They are looked at and compared; whoever opens one does it by descriptor.

/// `path.Clean`: without empty names, `.`, and `..` where something is before it; nothing at all is `.`.
pub fn clean(path: &str) -> String {
    let names = names(path);
    match (path.starts_with('/'), names.is_empty()) {
        (true, _) => format!("/{}", names.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => names.join("/"),
    }
}

/// `path.Clean` of the path behind a `/`: a relative one begins at the top, and nothing leads above it.
pub fn clean_from_top(path: &str) -> String {
    clean(&format!("/{path}"))
}

/// The names of a clean path; none of `.` and `/`. Of a relative one the first may be `..`.
pub fn names(path: &str) -> Vec<&str> {
    let is_rooted = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => drop(names.pop()),
            // There is nothing above the top.
            ".." if is_rooted => {}
            name => names.push(name),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{clean, clean_from_top, names};

    #[test]
    fn paths_are_clean() {
        for (path, expected) in [
            ("", "."),
            (".", "."),
            ("./", "."),
            ("a/..", "."),
            ("a/b/../c/", "a/c"),
            ("a//./b", "a/b"),
            ("..", ".."),
            ("../../a", "../../a"),
            ("a/../../b", "../b"),
            ("/", "/"),
            ("//", "/"),
            ("/..", "/"),
            ("/../a/", "/a"),
            ("/a/../../b", "/b"),
            ("...", "..."),
            ("/ü/./x", "/ü/x"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
            assert_eq!(clean(&clean(path)), expected, "{path}");
        }
    }

    #[test]
    fn nothing_is_above_the_top() {
        for (path, expected) in [
            ("", "/"),
            ("a", "/a"),
            ("../a", "/a"),
            ("/a/../../b", "/b"),
            ("a/..", "/"),
        ] {
            assert_eq!(clean_from_top(path), expected, "{path}");
        }
        assert_eq!(names("/a/./b/../c"), ["a", "c"]);
        assert_eq!(names("../a"), ["..", "a"]);
        assert!(names("/").is_empty() && names(".").is_empty());
    }
}
