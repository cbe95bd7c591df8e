//! Shell completion scripts, from the same tables as parsing and help.

use super::Command;

/// The script for `bash`, `zsh` or `fish`.
pub fn script(shell: &str, root: &[&Command]) -> Option<String> {
    let mut cases = Vec::new();
    collect("wharf", root, &mut cases);
    match shell {
        "bash" => Some(bash(&cases)),
        "zsh" => Some(format!(
            "#compdef wharf\nautoload -U +X bashcompinit && bashcompinit\n{}",
            bash(&cases)
        )),
        "fish" => Some(fish(root)),
        _ => None,
    }
}

// (words so far, words that may follow)
fn collect(path: &str, commands: &[&Command], cases: &mut Vec<(String, String)>) {
    let names: Vec<&str> = commands.iter().map(|command| command.name).collect();
    cases.push((path.to_owned(), names.join(" ")));
    for command in commands {
        let path = format!("{path} {}", command.name);
        if !command.commands.is_empty() {
            collect(&path, command.commands, cases);
            continue;
        }
        let flags = command
            .flags
            .iter()
            .copied()
            .flatten()
            .filter(|flag| !flag.hidden);
        let words: Vec<String> = flags.map(|flag| format!("--{}", flag.long)).collect();
        cases.push((path, words.join(" ")));
    }
}

fn bash(cases: &[(String, String)]) -> String {
    let mut out = String::from(
        "_wharf() {\n  local cur=${COMP_WORDS[COMP_CWORD]} path=wharf word words=\n  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case $word in -*) ;; *) path+=\" $word\" ;; esac\n  done\n  case $path in\n",
    );
    // The longest path first, so that words after a verb still complete its flags.
    for (path, words) in cases.iter().rev() {
        let rest = if words.starts_with("--") { "*" } else { "" };
        out.push_str(&format!("    \"{path}\"{rest}) words=\"{words}\" ;;\n"));
    }
    out.push_str("  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _wharf wharf\n");
    out
}

fn fish(root: &[&Command]) -> String {
    let mut out = String::new();
    let quote = |text: &str| text.replace('\'', "\\'");
    for command in root {
        out.push_str(&format!(
            "complete -c wharf -n __fish_use_subcommand -a {} -d '{}'\n",
            command.name,
            quote(command.about)
        ));
        for inner in command.commands {
            out.push_str(&format!(
                "complete -c wharf -n '__fish_seen_subcommand_from {}' -a {} -d '{}'\n",
                command.name,
                inner.name,
                quote(inner.about)
            ));
        }
        for flag in command
            .flags
            .iter()
            .copied()
            .flatten()
            .filter(|flag| !flag.hidden)
        {
            out.push_str(&format!(
                "complete -c wharf -n '__fish_seen_subcommand_from {}' -l {} -d '{}'\n",
                command.name,
                flag.long,
                quote(flag.help)
            ));
        }
    }
    out
}
