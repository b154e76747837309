//! `peers list`: what could be measured here.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Args;

use super::certificate::Certificate;
use super::lineup::{PEERS, Peer, Program};
use super::scenarios::{SCENARIOS, Scenario};
use super::started::Launch;
use super::{contest, entrants};
use crate::Ended;
use crate::cores::Cores;
use crate::fault::Result;
use crate::figures::Scratch;
use crate::output;

/// Whose abilities are looked at.
#[derive(Debug, Args)]
pub struct List {
    /// The build of Ringgate; the release build beside this program without it.
    #[arg(long, value_name = "FILE", env = "RINGGATE_BINARY")]
    gateway: Option<PathBuf>,
}

impl List {
    /// Lists scenarios and peers.
    ///
    /// # Errors
    /// When there is no room for scratch files.
    pub fn run(&self) -> Result<Ended> {
        let mut peers = vec![["peer", "state"].map(str::to_owned).to_vec()];
        for entrant in entrants(&PEERS.iter().collect::<Vec<_>>(), self.gateway.as_deref()) {
            let state = match (&entrant.program, contest::version(&entrant)) {
                (Err(why), _) => why.clone(),
                (Ok(_), version) => format!("ready: {}", version.unwrap_or_default()),
            };
            peers.push(vec![entrant.peer.name.to_owned(), state]);
        }
        let lines = peers.iter().map(|row| format!("{:<16}{}", row[0], row[1]));
        let peers: Vec<String> = lines
            .zip([""].into_iter().chain(PEERS.iter().map(|peer| peer.about)))
            .map(|(line, about)| match about {
                "" => line,
                about => format!("{line}\n{:<16}{about}", ""),
            })
            .collect();
        let scenarios = self.scenarios()?;
        Ok(Ended::well(format!("{}\n\n{scenarios}", peers.join("\n"))))
    }

    fn scenarios(&self) -> Result<String> {
        let scratch = Scratch::new()?;
        let certificate = Certificate::make(scratch.path())?;
        let mut lines = vec![format!(
            "{:<24}{}",
            "scenario", "what is done, and who cannot"
        )];
        for scenario in SCENARIOS {
            lines.push(format!("{:<24}{}", scenario.name, scenario.title));
            if let Some(why) = self.ringgate(scenario, &scratch, &certificate)? {
                lines.push(format!("{:<24}ringgate: {why}", ""));
            }
            let unable = PEERS
                .iter()
                .filter(|peer| peer.program != Program::Ringgate);
            let unable = unable.filter_map(|peer| {
                let why = peer.unable(scenario)?;
                Some(format!("{:<24}{}: {why}", "", peer.name))
            });
            lines.extend(unable);
        }
        Ok(lines.join("\n"))
    }

    /// What Ringgate says that it cannot do of a scenario.
    fn ringgate(
        &self,
        scenario: &Scenario,
        scratch: &Scratch,
        certificate: &Certificate,
    ) -> Result<Option<String>> {
        let ringgate = Peer::named("ringgate");
        let program = Program::Ringgate.find(self.gateway.as_deref());
        let (Some(peer), Ok(program)) = (ringgate, program) else {
            return Ok(None);
        };
        let cores = Cores::allowed()?;
        let launch = Launch {
            peer,
            program: &program,
            scenario,
            origin: (Ipv4Addr::LOCALHOST, 9).into(),
            cores: &cores,
            certificate,
            descriptors: 1024,
            directory: &scratch.room(scenario.name)?,
        };
        launch.ability().or_else(|fault| {
            output::complain(&fault.to_string());
            Ok(Some("its configuration is refused, see above".to_owned()))
        })
    }
}
