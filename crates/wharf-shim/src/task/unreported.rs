//! What was to be told of execs when somebody did not listen.
//!
//! A daemon that has lost its connection asks when it is there again. What has come to an end since then nobody else knows.

use std::collections::VecDeque;

use wharf_shim_api::{ExecStage, KnownExec, KnownExecs};

/// How much is kept at most. A daemon that has gone for good asks for none of it.
const MOST: usize = 256;

/// Execs whose end, or failure, was not told to everybody.
#[derive(Default)]
pub(crate) struct UnreportedExecs {
    execs: VecDeque<KnownExec>,
    forgotten: bool,
}

impl UnreportedExecs {
    pub(crate) fn keep(&mut self, id: String, stage: ExecStage) {
        if self.execs.len() == MOST {
            self.execs.pop_front();
            self.forgotten = true;
        }
        self.execs.push_back(KnownExec { id, stage });
    }

    /// With those that are `there`.
    pub(crate) fn and(&self, there: impl Iterator<Item = KnownExec>) -> KnownExecs {
        KnownExecs {
            execs: self.execs.iter().cloned().chain(there).collect(),
            whole: !self.forgotten,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_says_so() {
        let mut unreported = UnreportedExecs::default();
        for number in 0..MOST {
            unreported.keep(number.to_string(), ExecStage::Making);
        }
        assert!(unreported.and(std::iter::empty()).whole);
        unreported.keep("more".to_owned(), ExecStage::Making);
        let known = unreported.and(std::iter::empty());
        assert!(!known.whole && known.execs.len() == MOST);
        assert_eq!(known.execs.last().map(|one| one.id.as_str()), Some("more"));
    }
}
