//! What must hold of Dockerfiles, whatever the text. It panics if it does not.

use wharf_dockerfile::{Dockerfile, Expander, Ignore};

/// A mistake is on a line of the file; what is read is read the same again, and its instructions stand on its lines.
pub(crate) fn dockerfile(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let lines = text.split('\n').count();
    match Dockerfile::parse(text) {
        Err(error) => assert!((1..=lines).contains(&error.line), "{error:?}"),
        Ok(file) => {
            for stage in &file.stages {
                for located in &stage.instructions {
                    assert!(located.span.start <= located.span.end);
                    assert!(located.span.end <= lines);
                }
            }
            assert_eq!(Dockerfile::parse(text).as_ref(), Ok(&file));
        }
    }
    let get = |name: &str| name.starts_with(char::is_uppercase).then(|| name.repeat(3));
    // As long as it takes no time without end.
    let _ = Expander::new('\\').word(text, &get);
    let _ = Ignore::parse(text);
}
