//! Exit codes: what a script may rely on.

/// How loadgen ended, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Every assert held.
    Pass = 0,
    /// The tool itself failed.
    ToolError = 1,
    /// A mistake in the scenario or on the command line.
    BadScenario = 2,
    /// The preflight refused: this machine cannot do it.
    Preflight = 3,
    /// An assert failed.
    AssertFailed = 10,
    /// An assert ended the run early.
    Aborted = 11,
    /// The measurement is worthless: the generator was the bottleneck, or a fault missed.
    Invalid = 12,
    /// An assert had too few samples to judge.
    Inconclusive = 13,
    /// The formation did not come up.
    Formation = 14,
    /// Ended by ctrl-c or SIGTERM.
    Interrupted = 130,
}

impl Exit {
    /// The code given to the operating system.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table of `loadgen --help`.
pub const TABLE: &str = "\
Exit codes:
  0  every assert held             10  an assert failed
  1  loadgen itself failed         11  an assert ended the run early
  2  bad scenario or flags         12  invalid: the measurement cannot be trusted
  3  refused by the preflight      13  inconclusive: too few samples
                                   14  the formation did not come up
                                  130  interrupted";
