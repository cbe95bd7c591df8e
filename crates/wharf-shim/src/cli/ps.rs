//! `ps`.

use super::Outcome;
use super::container::Container;
use super::flags::{Command, Said, Takes};
use super::global::Global;

pub(crate) const PS: Command = Command {
    name: "ps",
    about: "ps displays the processes running inside a container",
    usage: "[command options] <container-id> [ps options]",
    words: (1, None),
    flags: &[(
        "format",
        "f",
        Takes::Value,
        "select one of: table or json (default: \"table\")",
    )],
    stops: true,
};

/// Prints the container's processes: their numbers, or the host's `ps` of them.
pub(crate) fn ps(global: &Global, said: &Said) -> Outcome {
    let container = Container::load(global, said)?;
    let pids = container
        .needs_cgroup()?
        .processes()
        .map_err(|error| error.to_string())?;
    match said.value("format").unwrap_or("table") {
        "json" => {
            let text = serde_json::to_string(&pids).map_err(|error| error.to_string())?;
            super::say(&format!("{text}\n"));
            return Ok(0);
        }
        "table" => {}
        _ => return Err("invalid format option".to_owned()),
    }
    let given = said.words.get(1..).unwrap_or_default();
    let plain = ["-ef".to_owned()];
    let arguments = if given.is_empty() { &plain } else { given };
    let output = std::process::Command::new("ps").args(arguments).output();
    let output = output.map_err(|error| format!("ps: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let status = output
            .status
            .to_string()
            .replacen("exit status:", "exit status", 1);
        return Err(format!("{status}: {text}{said}"));
    }
    super::say(&only(&text, &pids)?);
    Ok(0)
}

/// The head of `ps`'s table and the lines of `pids`.
fn only(text: &str, pids: &[i32]) -> Result<String, String> {
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|word| word == "PID");
    let column = column.ok_or("couldn't find PID field in ps output")?;
    let mut shown = format!("{head}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|word| word.parse().ok());
        let pid: i32 = pid.ok_or_else(|| format!("unable to parse pid in \"{line}\""))?;
        if pids.contains(&pid) {
            shown += line;
            shown.push('\n');
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::only;

    #[test]
    fn only_the_container_s_lines_are_shown() {
        let text = "UID  PID CMD\nroot 1 init\nroot 12 sh -c x\n";
        assert_eq!(
            only(text, &[12]).expect("shown"),
            "UID  PID CMD\nroot 12 sh -c x\n"
        );
        assert!(only("UID CMD\n", &[]).is_err());
    }
}
