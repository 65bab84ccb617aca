//! What the charts make is what is kept of it.

use std::collections::BTreeSet;
use std::fs;

use transcription_tests::charts::{CHARTS, Case, Helm, cases, parsed, renderings, together};
use transcription_tests::files::data;

#[tokio::test]
async fn each_case_is_rendered_to_what_is_kept_of_it() {
    for rendering in renderings().await {
        let file = rendering.case.golden();
        let kept = fs::read_to_string(&file).unwrap_or_default();

        assert!(
            kept == rendering.golden(),
            "{} is not what the chart makes: run `make generate`, and look at what has changed",
            file.display()
        );
    }
}

#[tokio::test]
async fn both_helms_make_the_same_objects() {
    let others = together(renderings().await, async |rendering| {
        let values = rendering.case.values();
        let values = ["--values", values.to_str().unwrap()];
        let text = Helm::Three.template(rendering.case.chart, &values).await;
        (rendering, parsed(&text.unwrap()))
    });

    for (of_four, of_three) in others.await {
        let case = &of_four.case;
        assert!(!of_three.is_empty(), "{case:?}");
        assert_eq!(of_three.len(), of_four.objects.len(), "{case:?}");
        for (three, four) in of_three.iter().zip(&of_four.objects) {
            assert_eq!(three, four, "{case:?}");
        }
    }
}

#[tokio::test]
async fn each_case_passes_the_lint_of_both_helms() {
    let runs = cases()
        .into_iter()
        .flat_map(|case| Helm::BOTH.map(|helm| (helm, case.clone())));
    let runs = together(runs, async |(helm, case): (Helm, Case)| {
        let folder = format!("charts/{}", case.chart);
        let values = case.values();
        let lint = [
            "lint",
            "--strict",
            &folder,
            "--values",
            values.to_str().unwrap(),
        ];
        (helm.said(lint).await, helm, case)
    });

    for (said, helm, case) in runs.await {
        let said = said.unwrap_or_else(|said| panic!("{helm:?} {case:?}: {said}"));
        assert!(
            said.contains("1 chart(s) linted, 0 chart(s) failed"),
            "{said}"
        );
    }
}

#[test]
fn nothing_is_kept_of_a_case_that_is_gone() {
    let wanted = cases().iter().map(Case::golden).collect::<BTreeSet<_>>();
    let mut found = BTreeSet::new();
    for chart in CHARTS {
        let files = fs::read_dir(data("charts").join(chart)).unwrap();
        found.extend(files.map(|file| file.unwrap().path()));
    }

    assert_eq!(found, wanted);
}
