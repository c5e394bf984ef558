//! What a run was asked for.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::class::Class;

/// The first argument of the part of the program that runs in the clients' namespace.
pub const INSIDE: &str = "--inside";

/// What a run was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides the schedule.
    pub seed: u64,
    /// How long faults are installed; start, heal and drain come on top.
    pub minutes: u64,
    /// The classes of faults that may be drawn; each of them must have been installed at the end.
    pub classes: Vec<Class>,
    /// The broker's program.
    pub highwater: PathBuf,
    /// Where report, logs and (if it did not pass) history go.
    pub report: PathBuf,
    /// Records that are sent in a second, all producers together.
    pub rate: u64,
    /// Keep the history even if nothing was found in it.
    pub keep_history: bool,
    /// The commit, for the report.
    pub commit: String,
    /// Where images, sockets and logs are while it runs. Made by the guardian.
    pub scratch: PathBuf,
    /// What the names of this run's namespaces begin with.
    pub prefix: String,
}

impl Options {
    /// How it is called.
    pub const USAGE: &str = "usage: highwater-soak [--minutes N] [--seed N] [--classes a,b,…] [--highwater PATH] [--report DIR] [--rate N]
Three real brokers on hosts (network namespaces) and disks (loop file systems) of their own, under load and faults.
  --minutes N      how long faults are installed (8)
  --seed N         decides the schedule (1)
  --classes LIST   only these classes of faults; --list-classes names them
  --highwater PATH the program to test; else the one beside this one
  --report DIR     where report.md, report.json and the logs go (soak-report)
  --rate N         records sent in a second (1600)
  --commit TEXT    what the report calls the product that was tested
  --keep-history yes   keeps the history of a run that passed, too
Exit code 0: passed, 1: failed, 2: invalid (a class was never installed, too little was acknowledged), 3: this machine
cannot (not root, no namespaces, no loop devices), 130: interrupted.";

    /// Reads the command line.
    ///
    /// # Errors
    /// An option that is not known, or a value that is not one.
    pub fn parse(arguments: &[String]) -> Result<Options> {
        let beside = std::env::current_exe()?.with_file_name("highwater");
        let mut options = Options {
            seed: 1,
            minutes: 8,
            classes: Class::ALL.to_vec(),
            highwater: beside,
            report: PathBuf::from("soak-report"),
            rate: 1600,
            keep_history: false,
            commit: option_env!("HIGHWATER_COMMIT").unwrap_or_default().to_owned(),
            scratch: PathBuf::new(),
            prefix: String::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            let number = || value.parse::<u64>().with_context(|| format!("{name} {value} is not a number"));
            match name.as_str() {
                "--seed" => options.seed = number()?,
                "--minutes" => options.minutes = number()?.max(1),
                "--rate" => options.rate = number()?.clamp(1, 100_000),
                "--classes" => options.classes = classes(value)?,
                "--highwater" => options.highwater = PathBuf::from(value),
                "--report" => options.report = PathBuf::from(value),
                "--keep-history" => options.keep_history = value == "yes",
                "--commit" => options.commit.clone_from(value),
                "--scratch" => options.scratch = PathBuf::from(value),
                "--prefix" => options.prefix.clone_from(value),
                other => bail!("{other} is not an option"),
            }
        }
        Ok(options)
    }

    /// The same options as arguments, for the part that runs inside.
    pub(super) fn arguments(&self) -> Vec<String> {
        let classes: Vec<&str> = self.classes.iter().map(|class| class.name()).collect();
        let path = |path: &PathBuf| path.display().to_string();
        let pairs = [
            ("--seed", self.seed.to_string()),
            ("--minutes", self.minutes.to_string()),
            ("--rate", self.rate.to_string()),
            ("--classes", classes.join(",")),
            ("--highwater", path(&self.highwater)),
            ("--report", path(&self.report)),
            ("--keep-history", if self.keep_history { "yes" } else { "no" }.to_owned()),
            ("--commit", self.commit.clone()),
            ("--scratch", path(&self.scratch)),
            ("--prefix", self.prefix.clone()),
        ];
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// The command that makes the same run.
    pub(super) fn replay(&self) -> String {
        let mut command = format!("highwater-soak --minutes {} --seed {}", self.minutes, self.seed);
        if self.classes.len() < Class::ALL.len() {
            let classes: Vec<&str> = self.classes.iter().map(|class| class.name()).collect();
            command += &format!(" --classes {}", classes.join(","));
        }
        command
    }
}

fn classes(list: &str) -> Result<Vec<Class>> {
    let find = |name: &str| {
        let class = Class::ALL.iter().copied().find(|class| class.name() == name);
        class.with_context(|| format!("{name} is not a class of faults; --list-classes names them"))
    };
    list.split(',').map(find).collect()
}
