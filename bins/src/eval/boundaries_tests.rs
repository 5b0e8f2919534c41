use super::*;

/// What `mir_eval.segment.detection(..., trim=False)` of mir_eval 0.8.2 returns for the intervals
/// between these times.
/// Boundaries of a reference and of an estimate, a window, and precision, recall and F.
type Case<'a> = (&'a [f64], &'a [f64], f64, [f64; 3]);

#[test]
fn boundaries_are_hit_as_mir_eval_has_it() {
    let near = [0.9, 14.0, 18.7, 22.2, 22.3, 23.9, 27.7, 28.3];
    let nears = [
        0.4, 3.4, 6.5, 7.4, 8.4, 14.1, 16.3, 17.2, 19.5, 23.0, 27.0, 27.5,
    ];
    let far = [0.1, 2.0, 4.4, 5.0, 9.0, 10.1, 10.8, 18.1, 20.3];
    let fars = [0.5, 0.7, 1.7, 9.3, 9.5, 14.4, 21.1, 22.5, 24.6, 25.3, 29.3];
    let cases: [Case<'_>; 10] = [
        (&near, &nears, 0.5, [0.25, 0.375, 0.3]),
        (&near, &nears, 3.0, [0.5833333333333334, 0.875, 0.7]),
        (
            &far,
            &fars,
            0.5,
            [0.2727272727272727, 0.3333333333333333, 0.3],
        ),
        (
            &far,
            &fars,
            3.0,
            [0.6363636363636364, 0.7777777777777778, 0.7],
        ),
        (&far, &far, 0.5, [1.0, 1.0, 1.0]),
        // One reference is hit once.
        (
            &[0.0, 1.0, 2.0, 10.0],
            &[0.4, 0.6, 1.4, 10.5],
            0.5,
            [0.75; 3],
        ),
        // The window's ends are within it, after rounding to five decimals.
        (
            &[0.0, 1.0, 2.0, 10.0],
            &[0.5, 1.5, 2.5, 10.50001],
            0.5,
            [0.75; 3],
        ),
        (
            &[0.0, 1.0, 2.0, 10.0],
            &[0.5, 1.5, 2.5, 10.500001],
            0.5,
            [1.0; 3],
        ),
        // Taking the nearest would leave one without a partner.
        (&[0.0, 0.9, 10.0], &[0.45, 0.5, 9.9], 0.5, [1.0; 3]),
        (&[0.0, 10.0], &[5.0, 20.0], 3.0, [0.0; 3]),
    ];
    for (reference, estimate, window, expected) in cases {
        let found = detection(reference, estimate, window);
        let found = [found.precision, found.recall, found.f];
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-12,
                "{reference:?} {estimate:?}: {found}"
            );
        }
    }
    assert_eq!(detection(&[0.0, 1.0], &[], 0.5), Hits::default());
}

#[test]
fn references_are_whole() {
    let text = "0.0 intro\n12.4 verse\n\n240.005562 end\n";
    assert_eq!(reference(text), Ok(vec![0.0, 12.4, 240.005562]));
    for (text, parts) in [
        ("", ["no end", "expected a last line"]),
        ("0.0 intro\n1.0 verse\n", ["no end", "expected a last line"]),
        ("1.0 end", ["no section", "at least one"]),
        (
            "0.0 intro\n0.0 end",
            ["line 2 is \"0.0 end\"", "a second after 0"],
        ),
        (
            "0:10 intro\n20 end",
            ["line 1 is \"0:10 intro\"", "a second of 0 or more"],
        ),
        ("-1 intro\n20 end", ["line 1", "a second of 0 or more"]),
        ("nan intro\n20 end", ["line 1", "a second of 0 or more"]),
        ("0 pre chorus\n20 end", ["line 1", "a second and a label"]),
        (
            "0 intro\n20 end\n21 end",
            ["line 3", "nothing after the end"],
        ),
    ] {
        let error = reference(text).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn answers_are_read_as_far_as_they_go() {
    let found = |text: &str| {
        let sections = answer(text);
        (sections.boundaries, sections.is_strict)
    };
    assert_eq!(
        found("0 intro\n12.5 verse\n30 end"),
        (vec![0.0, 12.5, 30.0], true)
    );
    // A label that is none, a time in minutes, and a missing end are wrong, and understood.
    assert_eq!(found("0 start\n30 end"), (vec![0.0, 30.0], false));
    assert_eq!(
        found("0 intro\n1:15.5 verse\n1:00:00 end"),
        (vec![0.0, 75.5, 3600.0], false)
    );
    assert_eq!(found("0 intro\n12.5 verse"), (vec![0.0, 12.5], false));
    // What is none of these is passed over, and so is what goes back.
    let text = "Sections:\n0 intro\n9 verse\n9 chorus\n5 verse\n12 end\n13 outro";
    assert_eq!(found(text), (vec![0.0, 9.0, 12.0], false));
    for text in [
        "",
        "end",
        "inf intro",
        "-1 intro",
        "1:2:3:4 intro",
        ":1 intro",
        "1e400 end",
    ] {
        assert_eq!(found(text), (vec![], false), "{text}");
    }
    assert_eq!(answer("0 intro\n1:15.5 end").lines, "0 intro\n75.5 end\n");
}
