//! What depends on the cluster: its version, and kinds that it need not know.

use transcription_tests::charts::{CHARTS, Case, Helm, parsed, together};

const KINDS: [(&str, &str); 2] = [
    ("ServiceMonitor", "serviceMonitor"),
    ("PrometheusRule", "prometheusRule"),
];

#[tokio::test]
async fn a_kind_of_prometheus_is_written_where_the_cluster_knows_it_or_when_it_is_forced() {
    let runs = together(charts_and_helms(), async |(chart, helm)| {
        for (kind, value) in KINDS {
            let rendered = async |arguments: &[&str]| {
                let least = least(chart).values();
                let values = ["--values", least.to_str().unwrap()];
                let text = helm.template(chart, &[&values, arguments].concat()).await;
                let objects = parsed(&text.unwrap());
                objects.iter().any(|object| object["kind"] == kind)
            };
            let enabled = format!("--set=metrics.{value}.enabled=true");
            let known = format!("--api-versions=monitoring.coreos.com/v1/{kind}");
            let forced = format!("--set=metrics.{value}.force=true");
            let told = format!("{helm:?} {chart} {kind}");

            assert!(!rendered(&[&enabled]).await, "{told}");
            assert!(!rendered(&[&known, &forced]).await, "{told}");
            assert!(rendered(&[&enabled, &known]).await, "{told}");
            assert!(rendered(&[&enabled, &forced]).await, "{told}");
        }
    });
    assert_eq!(runs.await.len(), 6);
}

#[tokio::test]
async fn the_notes_say_which_kind_is_missing() {
    for chart in CHARTS {
        for (kind, value) in KINDS {
            let sentence = format!("There is no {kind}: the cluster does not know the kind.");
            let enabled = format!("--set=metrics.{value}.enabled=true");
            let forced = format!("--set=metrics.{value}.force=true");

            let missing = least(chart).rendered(&[&enabled]).await.notes;
            let forced = least(chart).rendered(&[&enabled, &forced]).await.notes;

            assert!(missing.contains(&sentence), "{missing}");
            assert!(!forced.contains(&sentence), "{forced}");
        }
    }
}

#[tokio::test]
async fn an_older_kubernetes_is_refused() {
    let runs = together(charts_and_helms(), async |(chart, helm)| {
        let least = least(chart).values();
        let values = ["--values", least.to_str().unwrap()];
        let older = [&values[..], &["--kube-version=1.32.9"]].concat();
        let oldest = [&values[..], &["--kube-version=1.33.0-eks-1"]].concat();

        let said = helm.template(chart, &older).await.unwrap_err();
        helm.template(chart, &oldest).await.unwrap();

        assert!(said.contains("requires kubeVersion: >=1.33.0-0"), "{said}");
    });
    assert_eq!(runs.await.len(), 6);
}

fn charts_and_helms() -> impl Iterator<Item = (&'static str, Helm)> {
    let charts = CHARTS.into_iter();
    charts.flat_map(|chart| Helm::BOTH.map(|helm| (chart, helm)))
}

/// The case with the least values.
fn least(chart: &'static str) -> Case {
    let name = match chart {
        "operator" => "default",
        _ => "rendered-whisper",
    };
    Case {
        chart,
        name: name.to_owned(),
    }
}
