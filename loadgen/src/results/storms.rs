//! Faults and storms on the page, and the recovery curves as `reconnect.csv`.

use std::fmt::Write as _;
use std::io;

use super::Summary;
use super::markdown::{optional, time};
use crate::measure::{Storm, even_curve};
use crate::units::grouped;

/// What was done to brokers and provisioners, and what the fleet made of it.
pub(super) fn write_storms(page: &mut String, summary: &Summary) -> std::fmt::Result {
    if summary.faults.is_empty() && summary.storms.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Faults\n")?;
    for fault in &summary.faults {
        let at = fault.at_us.map(|us| format!(" at {}", time(us)));
        let down = fault.down_us.map(|us| format!(", away {}", time(us)));
        let relinked = fault
            .relinked_us
            .map(|us| format!(", linked again {} later", time(us)));
        let missed = match fault.happened {
            true => "",
            false => " **It missed.**",
        };
        let note = match fault.note.as_str() {
            "" => String::new(),
            note => format!(" {note}"),
        };
        writeln!(
            page,
            "- {} {}{}{}{} ({}).{missed}{note}",
            fault.kind,
            fault.target,
            at.unwrap_or_default(),
            down.unwrap_or_default(),
            relinked.unwrap_or_default(),
            fault.phase,
        )?;
    }
    writeln!(page)?;
    if summary.storms.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "### What the fleet made of it\n\n\
         | fault | phase | affected | moved in time | back | half back | 90 % | 99 % | all back | \
         all back after the brokers | dials a node | failed dials |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for storm in &summary.storms {
        let each = storm.attempts_per_node;
        writeln!(
            page,
            "| {} {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            storm.kind,
            storm.targets.join(", "),
            storm.phase,
            grouped(storm.affected),
            grouped(storm.moved),
            grouped(storm.back),
            optional(storm.back_us.p50),
            optional(storm.back_us.p90),
            optional(storm.back_us.p99),
            optional(storm.fall_to_all_us),
            optional(storm.time_to_all_us),
            each.map_or("-".to_owned(), |n| format!("{n:.2}")),
            storm.failed.map_or("-".to_owned(), grouped),
        )?;
    }
    writeln!(
        page,
        "\nTimes count from the fault, those after the brokers from the moment the last of them was up \
         again (0 µs: everybody was back before). The whole curve is in `reconnect.csv`.\n"
    )
}

/// The recovery curves: one row per step of each storm, everything counted since its fall.
///
/// # Errors
/// Never for a buffer in memory; the writer's signature has one.
pub fn reconnect_csv(storms: &[Storm]) -> io::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record([
        "storm", "phase", "fault", "t_ms", "down", "back", "lost", "attempts", "failed",
    ])?;
    for (number, storm) in storms.iter().enumerate() {
        let fault = format!("{} {}", storm.kind, storm.targets.join(" "));
        for point in even_curve(storm) {
            csv.write_record([
                (number + 1).to_string(),
                storm.phase.clone(),
                fault.clone(),
                (point.t_us / 1_000).to_string(),
                point.down.to_string(),
                point.back.to_string(),
                point.lost.to_string(),
                point.attempts.to_string(),
                point.failed.to_string(),
            ])?;
        }
    }
    csv.into_inner().map_err(|error| error.into_error())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::measure::CurvePoint;

    #[test]
    fn a_curve_has_a_row_every_tenth_of_a_second() {
        let point = |t_us, down, back| CurvePoint {
            t_us,
            lost: 9,
            back,
            down,
            attempts: back,
            failed: 0,
        };
        let storm = Storm {
            phase: "storm".to_owned(),
            kind: "kill".to_owned(),
            targets: vec!["hub-1".to_owned(), "hub-2".to_owned()],
            curve: vec![
                point(4_000, 9, 0),
                point(150_000, 4, 5),
                point(210_000, 0, 9),
            ],
            ..Storm::default()
        };
        let text = String::from_utf8(reconnect_csv(&[storm]).unwrap()).unwrap();
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows[0],
            "storm,phase,fault,t_ms,down,back,lost,attempts,failed"
        );
        assert_eq!(
            rows[1..],
            [
                "1,storm,kill hub-1 hub-2,0,0,0,0,0,0",
                "1,storm,kill hub-1 hub-2,100,9,0,9,0,0",
                "1,storm,kill hub-1 hub-2,200,4,5,9,5,0",
                "1,storm,kill hub-1 hub-2,300,0,9,9,9,0",
            ]
        );
    }
}
