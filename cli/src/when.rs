//! Points in time as people write them: RFC 3339, or relative to now.

use std::time::Duration;

use jiff::Timestamp;

/// Reads `2026-01-31T12:00:00Z`, `now`, or `-2h`, `-15m`, `-30s`, `-3d`, `-500ms` into milliseconds since the epoch.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    parse_at(text, Timestamp::now())
}

fn parse_at(text: &str, now: Timestamp) -> Result<i64, String> {
    if text == "now" {
        return Ok(now.as_millisecond());
    }
    if let Some(ago) = text.strip_prefix('-') {
        let ago = i64::try_from(duration(ago)?.as_millis()).map_err(|_| format!("{text} is too long ago"))?;
        return Ok(now.as_millisecond().saturating_sub(ago));
    }
    text.parse::<Timestamp>().map(Timestamp::as_millisecond).map_err(|_| {
        format!("'{text}' is not a time; write 2026-01-31T12:00:00Z, or -2h, -15m, -30s for so long ago")
    })
}

/// Reads `90`, `90s`, `500ms`, `15m`, `2h`, `3d`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration; write 90s, 15m, 2h, 3d or 500ms");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)
}

/// Milliseconds since the epoch as RFC 3339; a number outside the calendar stays a number.
pub(crate) fn format(timestamp_ms: i64) -> String {
    match Timestamp::from_millisecond(timestamp_ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => timestamp_ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_absolute_and_relative() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
        let at = |text| parse_at(text, now).map(format);
        assert_eq!(at("2026-01-31T10:30:00.250Z"), Ok("2026-01-31T10:30:00.250Z".to_owned()));
        assert_eq!(at("2026-01-31T12:00:00+02:00"), Ok("2026-01-31T10:00:00.000Z".to_owned()));
        assert_eq!(at("-2h"), Ok("2026-01-31T10:00:00.000Z".to_owned()));
        assert_eq!(at("-15m"), Ok("2026-01-31T11:45:00.000Z".to_owned()));
        assert_eq!(at("-500ms"), Ok("2026-01-31T11:59:59.500Z".to_owned()));
        assert_eq!(at("now"), Ok("2026-01-31T12:00:00.000Z".to_owned()));
        for wrong in ["", "yesterday", "-2x", "-h", "2026-13-01T00:00:00Z", "-99999999999999999999d"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }
}
