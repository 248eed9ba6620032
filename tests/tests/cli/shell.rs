//! `slpo completions` and `slpo man`: every command is in them.

use crate::command::{Workplace, failure, slpo, text};

#[test]
fn completions_and_manual_have_every_command() {
    let workplace = Workplace::new();
    let commands: Vec<String> = text(&slpo("--help", &[]))
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Descriptions go on in lines that are indented further.
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?.split_whitespace().next())
        .map(str::to_owned)
        .filter(|name| name != "help")
        .collect();
    assert!(commands.len() > 20 && commands.contains(&"align".to_owned()), "{commands:?}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = text(&slpo(&format!("completions {shell}"), &[]));
        assert!(commands.iter().all(|command| script.contains(command.as_str())) && script.contains("beta"), "{shell}");
    }
    assert!(text(&workplace.run("man --out {}/man")).contains("pages are in"));
    for command in &commands {
        let page = std::fs::read_to_string(workplace.path("man").join(format!("slpo-{command}.1"))).unwrap();
        assert!(page.contains(&format!(".TH slpo-{command} 1")) && page.contains(".SH DESCRIPTION"), "{page}");
    }
    assert!(std::fs::read_to_string(workplace.path("man/slpo.1")).unwrap().contains(".TH slpo 1"));
    failure(&slpo("completions tcsh", &[]), 2);
}
