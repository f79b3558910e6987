use super::*;

#[test]
fn rests_grow_within_bounds_and_differ() {
    let interval = Duration::from_secs(10);
    let mut last = Duration::ZERO;
    for failures in 1..=5 {
        let wait = backoff(interval, failures, "a");
        assert!(wait > last && wait <= interval * 2_u32.pow(failures), "{failures}: {wait:?}");
        last = wait;
    }
    let longest: Vec<Duration> =
        (0..50).map(|uid| backoff(interval, u32::MAX, &format!("uid-{uid}"))).collect();
    assert!(longest.iter().all(|wait| *wait <= LONGEST_BACKOFF && *wait >= LONGEST_BACKOFF * 3 / 4));
    let distinct: std::collections::BTreeSet<&Duration> = longest.iter().collect();
    assert!(distinct.len() > 40, "{distinct:?}");
    // Whoever wants to be asked once an hour is not asked more often because it fails.
    assert!(backoff(Duration::from_hours(1), 1, "a") >= Duration::from_mins(45));
}

#[test]
fn a_report_that_goes_elsewhere_goes_with_its_own_credential() {
    let report = |url: Option<&str>, secret: Option<&str>| ReportSpec {
        url: url.map(str::to_owned),
        secret_ref: secret.map(|name| crate::api::reference::SecretReference { name: name.to_owned() }),
        ..ReportSpec::default()
    };
    let (here, there) = ("https://git.example.com/config", "https://other.example.com/status");
    for (spec, expected) in [
        (report(None, None), (here, Some("reads"))),
        (report(None, Some("writes")), (here, Some("writes"))),
        (report(Some(here), None), (here, Some("reads"))),
        (report(Some(there), Some("writes")), (there, Some("writes"))),
        // The credential for reading is for another host.
        (report(Some(there), None), (there, None)),
    ] {
        assert_eq!(report_place(here, Some("reads"), &spec), expected, "{spec:?}");
    }
}
