//! How BuildKit's progress names the steps of a stage (`dockerfile2llb`, `prefixCommand`).

use wharf_dockerfile::{Dockerfile, Instruction, Stage};

/// Counts the steps of a stage that do something to files.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: String,
    total: usize,
    done: usize,
}

impl Names {
    /// Of the stage at `position`; `from_image` if it begins from an image.
    pub fn new(file: &Dockerfile, position: usize, stage: &Stage, from_image: bool) -> Self {
        let prefix = match (&stage.from.name, file.stages.len()) {
            (Some(name), 2..) => format!("{name} "),
            (None, 2..) => format!("stage-{position} "),
            _ => String::new(),
        };
        let steps = stage.instructions.iter();
        let steps = steps.filter(|located| counts(&located.instruction)).count();
        Self {
            prefix,
            total: steps + usize::from(from_image),
            done: 0,
        }
    }

    /// The same, for one platform of several.
    #[must_use]
    pub fn on(mut self, platform: &str) -> Self {
        if !platform.is_empty() {
            self.prefix = format!("{platform} {}", self.prefix);
        }
        self
    }

    /// The name of the next step, which says `text`.
    pub fn next(&mut self, text: &str) -> String {
        self.done += 1;
        let width = self.total.max(1).ilog10() as usize + 1;
        format!(
            "[{}{:>width$}/{}] {text}",
            self.prefix, self.done, self.total
        )
    }
}

/// Whether it is a step of its own; the others only change settings.
pub fn counts(instruction: &Instruction) -> bool {
    matches!(
        instruction,
        Instruction::Add(_) | Instruction::Copy(_) | Instruction::Run(_) | Instruction::Workdir(_)
    )
}
