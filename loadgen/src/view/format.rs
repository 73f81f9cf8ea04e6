//! Numbers as people read them: `41.2 ms`, `1,000`, `402 MiB`.
//!
//! What was not measured is `-`, never 0.

/// What stands where nothing was measured.
pub(super) const UNKNOWN: &str = "-";

/// A whole number with thousands separated: `20,000`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds as a bare figure in milliseconds, for a column that says so: `0.41`, `41.2`.
pub(super) fn ms(us: Option<u64>) -> String {
    match us {
        None => UNKNOWN.to_owned(),
        Some(us) if us < 1_000 => format!("{:.2}", us as f64 / 1e3),
        Some(us) => format!("{:.1}", us as f64 / 1e3),
    }
}

/// Microseconds with the unit that suits them: `0.4 ms`, `41 ms`, `4.9 s`, `2 min 12 s`.
pub(super) fn span(us: u64) -> String {
    match us {
        0..1_000_000 if us < 10_000 => format!("{:.1} ms", us as f64 / 1e3),
        0..1_000_000 => format!("{} ms", (us + 500) / 1_000),
        1_000_000..60_000_000 => format!("{:.1} s", us as f64 / 1e6),
        _ => {
            let seconds = us / 1_000_000;
            match seconds / 3_600 {
                0 => format!("{} min {} s", seconds / 60, seconds % 60),
                hours => format!("{hours} h {} min", seconds / 60 % 60),
            }
        }
    }
}

/// A time since the start as a clock shows it: `07:47`, `1:02:03`.
pub(super) fn clock(us: u64) -> String {
    let seconds = us / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes:02}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Bytes in binary units: `265 MiB`.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        3.. => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A rate: whole from ten on, one decimal below.
pub(super) fn rate(per_s: f64) -> String {
    if per_s >= 10.0 {
        count(per_s.round() as u64)
    } else if per_s == 0.0 {
        "0".to_owned()
    } else {
        format!("{per_s:.1}")
    }
}

/// A share between 0 and 1 as a percentage; 100 only when it is all of it.
pub(super) fn percent(ratio: f64) -> String {
    let floored = (ratio * 1_000.0).floor() / 10.0;
    match floored {
        100.0.. => "100 %".to_owned(),
        _ => format!("{floored:.1} %"),
    }
}

/// What was measured, shown by `show`, or a dash.
pub(super) fn known<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_three() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn durations_take_the_unit_that_suits_them() {
        let table = [
            (400, "0.4 ms"),
            (41_200, "41 ms"),
            (4_900_000, "4.9 s"),
            (132_000_000, "2 min 12 s"),
            (7_380_000_000, "2 h 3 min"),
        ];
        for (us, text) in table {
            assert_eq!(span(us), text);
        }
        assert_eq!(ms(Some(410)), "0.41");
        assert_eq!(ms(Some(41_234)), "41.2");
        assert_eq!(ms(None), "-");
        assert_eq!(clock(467_000_000), "07:47");
        assert_eq!(clock(3_723_000_000), "1:02:03");
    }

    #[test]
    fn a_share_is_never_rounded_up_to_all() {
        assert_eq!(percent(0.999_99), "99.9 %");
        assert_eq!(percent(1.0), "100 %");
    }

    #[test]
    fn sizes_and_rates() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(265 * 1024 * 1024), "265 MiB");
        assert_eq!(bytes(3 * 1024 * 1024 * 1024 / 2), "1.5 GiB");
        assert_eq!(rate(1661.4), "1,661");
        assert_eq!(rate(0.25), "0.2");
        assert_eq!(rate(0.0), "0");
        assert_eq!(known(None::<u64>, count), "-");
    }
}
