//! The tunnels in a client's file: one `[tunnels.NAME]` each.

use shared::control::protocol::{BadTunnelName, TunnelName};
use shared::kit::nearest::did_you_mean;
use shared::kit::settings::{File, Problem, Problems, Section};

use crate::tunnel::{BadTunnel, Options, Target, TunnelConfig};

/// The group of sections that are tunnels.
pub(crate) const TUNNELS: &str = "tunnels";

/// The key of the local service in such a section.
const LOCAL: &str = "local";

/// A tunnel, and the line of the file that begins it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TunnelInFile {
    pub(crate) tunnel: TunnelConfig,
    pub(crate) line: usize,
}

/// The tunnels of `file`, in its order. The key `local` above them is not among them.
pub(crate) fn tunnels(file: &File) -> Result<Vec<TunnelInFile>, Problems> {
    let mut problems = Vec::new();
    let mut tunnels = Vec::new();
    for section in &file.sections {
        match tunnel(section, &mut problems) {
            Some(tunnel) => tunnels.push(TunnelInFile { tunnel, line: section.line }),
            // The reason has been noted.
            None => continue,
        }
    }
    let default = TunnelName::default_tunnel();
    let twice = tunnels.iter().find(|tunnel| tunnel.tunnel.name == default);
    if let (Some(local), Some(twice)) = (file.entry(LOCAL), twice) {
        let what =
            format!("the tunnel `{default}` is there twice: as `local` in line {}", local.line);
        problems.push(Problem::at(twice.line, what));
    }
    Problems::none_in(&file.path, problems)?;
    Ok(tunnels)
}

/// The tunnel of one section; what is wrong with it goes to `problems`.
fn tunnel(section: &Section, problems: &mut Vec<Problem>) -> Option<TunnelConfig> {
    let before = problems.len();
    let name: Result<TunnelName, BadTunnelName> = section.name.parse();
    if let Err(err) = &name {
        problems.push(Problem::at(section.line, format!("'{}': {err}", section.name)));
    }
    let mut target = None;
    let mut options = Options::default();
    for entry in &section.entries {
        let (key, value) = (entry.key.as_str(), entry.value.as_str());
        let taken = if key == LOCAL {
            let parsed = value.parse::<Target>();
            parsed.map(|parsed| target = Some(parsed)).map_err(|err| entry.problem(err))
        } else if Options::NAMES.contains(&key) {
            options.set(key, value).map_err(|err| entry.problem(err))
        } else {
            let hint = did_you_mean(key, Options::NAMES.into_iter().chain([LOCAL]));
            Err(Problem::at(entry.line, format!("unknown key '{key}' of a tunnel{hint}")))
        };
        problems.extend(taken.err());
    }
    if !section.entries.iter().any(|entry| entry.key == LOCAL) {
        let what = format!("the tunnel `{}` needs a `local`, such as local = 3000", section.name);
        problems.push(Problem::at(section.line, what));
    }
    // What it carries tells which options go together; a name that is bad has been noted.
    let (name, target) = (name.ok()?, target?);
    let finished = options.finish(name, target);
    if problems.len() > before {
        problems.extend(finished.err().map(|err| concerning(section, &err)));
        return None;
    }
    let read = finished.and_then(|draft| draft.read());
    read.map_err(|err| problems.push(concerning(section, &err))).ok()
}

/// That the tunnel of `section` is not good as a whole.
fn concerning(section: &Section, err: &BadTunnel) -> Problem {
    let line = match err {
        BadTunnel::WrongKind { option, .. } | BadTunnel::File { option, .. } => {
            section.entries.iter().find(|entry| entry.key == *option).map(|entry| entry.line)
        }
        _ => None,
    };
    Problem::at(line.unwrap_or(section.line), err.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shared::kit::settings::References;

    use super::*;

    fn parse(text: &str) -> Result<Vec<String>, String> {
        let references = References { variable: &|_| None, folder: Path::new("/") };
        let file = File::parse(Path::new("a.toml"), text, &[TUNNELS], references);
        let tunnels = file.and_then(|file| tunnels(&file)).map_err(|err| err.to_string())?;
        Ok(tunnels.iter().map(|tunnel| format!("{}: {}", tunnel.line, tunnel.tunnel)).collect())
    }

    #[test]
    fn a_section_is_a_tunnel_with_the_options_of_the_command_line() {
        let text = "grace = \"1s\"\n[tunnels.web]\nlocal = 3000\nport = 20001\ncheck = \"tcp\"\n\
                    check-interval = \"5s\"\nwithdraw = true\n[tunnels.app]\nlocal = \"unix:/a\"\n";
        let expected = [
            "2: web=127.0.0.1:3000?port=20001&check=tcp&check-interval=5s&withdraw=true",
            "8: app=unix:/a",
        ];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn what_may_come_several_times_is_an_array_or_a_string() {
        let text = "[tunnels.web]\nlocal = \"http://app:3000\"\nhost = [\"a.example\", \"b.example\"]\n\
                    add-header = \"X-A: b & c\"\nredirect = [\"/a /b\"]\n";
        let expected = "1: web=http://app:3000?host=a.example&host=b.example\
                        &add-header=x-a:%20b%20%26%20c&redirect=/a%20/b";
        assert_eq!(parse(text).unwrap(), [expected]);
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let text = "local = 80\n[tunnels.Web]\nlocal = 1\n[tunnels.a]\nport = 0\n\
                    [tunnels.b]\nlocal = \"x\"\nprot = 1\ncheck-timeout = \"1s\"\n\
                    [tunnels.c]\nlocal = 1\nwithdraw = true\n[tunnels.default]\nlocal = 2\n\
                    [tunnels.d]\nlocal = \"http://1\"\ncompress = true\nport = 1\n\
                    [tunnels.e]\nlocal = 1\nport = [1, 2]\n\
                    [tunnels.f]\nlocal = \"http://1\"\npath = \"/f\"\nauth-file = \"/not/there\"\n";
        let problems = parse(text).unwrap_err();
        let problems: Vec<&str> = problems.lines().collect();
        assert_eq!(
            problems,
            [
                "a.toml:2: 'Web': a tunnel's name is 1 to 63 characters of a-z, 0-9 and -, and does not begin or end with -",
                "a.toml:4: the tunnel `a` needs a `local`, such as local = 3000",
                "a.toml:5: 'port=0': expected a port, 1 to 65535",
                "a.toml:7: 'x' is no target: use PORT, HOST:PORT, unix:/path, or a URL such as http://HOST:PORT",
                "a.toml:8: unknown key 'prot' of a tunnel: did you mean 'port'?",
                "a.toml:10: 'withdraw' needs a 'check'",
                "a.toml:13: the tunnel `default` is there twice: as `local` in line 1",
                "a.toml:18: 'port' is for tcp tunnels, and this one is http",
                "a.toml:21: 'port' is there twice",
                "a.toml:25: 'auth-file': /not/there: No such file or directory (os error 2)",
            ]
        );
    }

    #[test]
    fn thousands_of_tunnels_are_read() {
        let section = |i| format!("[tunnels.t{i}]\nlocal = \"127.0.0.1:{}\"\n", 10_000 + i);
        let text: String = (0..2000).map(section).collect();
        let tunnels = parse(&text).unwrap();
        assert_eq!(tunnels.len(), 2000);
        assert_eq!(tunnels[1999], "3999: t1999=127.0.0.1:11999");
    }
}
