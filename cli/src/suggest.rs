//! "Did you mean": the nearest of some names, if it is near enough to be a typo.

/// The name of `names` that `wrong` is most likely a typo of.
pub(crate) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_find_their_name_and_strangers_find_nothing() {
        let names = ["orders", "payments", "audit-log"];
        assert_eq!(nearest("ordres", names), Some("orders"));
        assert_eq!(nearest("audit_log", names), Some("audit-log"));
        assert_eq!(nearest("zzz", names), None);
    }
}
