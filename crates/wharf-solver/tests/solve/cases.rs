//! Cases of the documents beside the tests: a heading each, a Dockerfile in a fence, and lines of what is looked at.

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) dockerfile: String,
    pub(crate) lines: Vec<String>,
}

pub(crate) fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        match (line.strip_prefix("## "), cases.last_mut()) {
            (Some(name), _) if !fenced => cases.push(Case {
                name: name.to_owned(),
                dockerfile: String::new(),
                lines: Vec::new(),
            }),
            (_, Some(_)) if line.starts_with("```") => fenced = !fenced,
            (_, Some(case)) if fenced => case.dockerfile.push_str(&format!("{line}\n")),
            (_, Some(case)) if !line.is_empty() => case.lines.push(line.to_owned()),
            _ => {}
        }
    }
    cases
}

/// The files that all contexts have.
pub(crate) fn context(folder: &std::path::Path, files: &[(&str, &str)]) {
    std::fs::create_dir_all(folder.join("sub/deep")).unwrap();
    for (name, content) in files {
        std::fs::write(folder.join(name), content).unwrap();
    }
}
