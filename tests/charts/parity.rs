//! The charts make what the operator makes. What differs is listed in `charts/PARITY.md`, with its reason, and does differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use clap::Parser;
use serde_json::Value;
use transcription_operator::config::{Cli, Command};
use transcription_operator::manifests;
use transcription_operator::release::Release;
use transcription_tests::charts::{Case, Helm, cases, parsed, read, renderings, together};
use transcription_tests::files::root;
use transcription_tests::rendered;

use differences::{Allowance, Difference, OPERATOR, SERVICES};

mod differences;

/// Rows of the table that no rendering shows, and what does.
const NOT_RENDERED: [(&str, &str); 8] = [
    (
        "annotation `transcription.dev/applied-hash`",
        "the operator sets it when it applies, see the tests of the cluster",
    ),
    (
        "`AUTH_TOKEN_URL`, and the origin of the page `/docs` in auth's `CORS_ALLOWED_ORIGINS`",
        "what_the_operator_finds_by_itself_are_values_of_the_charts",
    ),
    (
        "a request above a limit of the user's",
        "the operator's tests; the API server's own rule",
    ),
    (
        "`storageClassName: \"\"` (no class)",
        "tests/data/charts/auth/no-class.yaml",
    ),
    (
        "what cannot be changed (class, access modes, size downwards, given claim or own)",
        "the rules of the definition, in the tests of the cluster",
    ),
    (
        "extra variables that are ours",
        "a_variable_of_the_chart_is_refused_as_an_extra_one",
    ),
    (
        "a name that is another's",
        "the tests of the cluster; Helm's own rule",
    ),
    (
        "label `app.kubernetes.io/instance`, names",
        "tests/data/charts/operator, where the release is called transcription-operator",
    ),
];

/// Objects by kind, namespace and name.
type Objects = BTreeMap<[String; 3], Value>;

#[tokio::test]
async fn the_charts_of_the_services_make_what_the_operator_makes() {
    let mut differences = Vec::new();
    let stacks = stacks();
    let count = stacks.len();
    assert!(count >= 3);
    for stack in stacks {
        let name = stack.frozen.file_stem().unwrap().to_string_lossy();
        let name = format!("rendered-{name}");
        let mut by_charts = objects_of("auth", &name).await;
        by_charts.extend(objects_of("transcription", &name).await);
        // The number of pods is applied apart, and stands there without a kind.
        let (by_operator, apart) = parsed(&stack.rendered())
            .into_iter()
            .partition::<Vec<_>, _>(|object| object.get("kind").is_some());
        let by_operator = by_kind(by_operator);

        let deployment = |objects: &Objects| {
            let key = ["Deployment", "team", "demo-transcription"].map(str::to_owned);
            objects[&key]["spec"]["replicas"].clone()
        };
        let replicas = apart.first().map(|apart| apart["replicas"].clone());
        assert_eq!(deployment(&by_charts), replicas.unwrap_or_default());
        assert_eq!(deployment(&by_operator), Value::Null);
        differences.extend(compared(&name, &by_operator, &by_charts));
    }
    // Both sides have the same cases.
    let names = |chart: &str| {
        let all = cases().into_iter().filter(move |case| case.chart == chart);
        let names = all.map(|case| case.name);
        names
            .filter(|name| name.starts_with("rendered-"))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(names("auth").len(), count);
    assert_eq!(names("auth"), names("transcription"));

    assert_listed(&differences, &SERVICES, "## The services");
}

#[tokio::test]
async fn the_chart_of_the_operator_makes_what_its_manifests_have() {
    let mut differences = Vec::new();
    for (name, watched) in [("default", ""), ("namespaces", "team-a,team-b")] {
        let arguments = [
            "transcription-operator",
            "manifests",
            "--watch-namespaces",
            watched,
        ];
        let cli = Cli::try_parse_from(arguments).unwrap();
        let Command::Manifests(settings) = cli.command else {
            panic!("{cli:?}");
        };
        let by_operator = by_kind(manifests::objects(&settings).unwrap());

        let by_chart = objects_of("operator", name).await;

        let roles = by_chart.keys().filter(|[kind, ..]| kind.ends_with("Role"));
        assert_eq!(roles.count(), if watched.is_empty() { 2 } else { 3 });
        differences.extend(compared(name, &by_operator, &by_chart));
    }

    assert_listed(&differences, &OPERATOR, "## The operator");
}

#[tokio::test]
async fn the_operator_is_scraped_in_the_same_way_wherever_it_comes_from() {
    let by_hand = read(&root().join("k8s/monitoring/operator-servicemonitor.yaml"));
    let case = Case {
        chart: "operator",
        name: "default".to_owned(),
    };
    let set = ["enabled", "force"].map(|name| format!("--set=metrics.serviceMonitor.{name}=true"));

    let objects = case.rendered(&[&set[0], &set[1]]).await.objects;

    let mut monitors = objects
        .iter()
        .filter(|object| object["kind"] == "ServiceMonitor");
    let by_chart = monitors.next().unwrap();
    assert_eq!(by_chart["spec"]["endpoints"], by_hand["spec"]["endpoints"]);
}

#[tokio::test]
async fn what_the_operator_finds_by_itself_are_values_of_the_charts() {
    let setting = async |chart: &'static str, set: &[&str], name: &str| {
        let case = Case {
            chart,
            name: "rendered-everything".to_owned(),
        };
        let objects = case.rendered(set).await.objects;
        let mut maps = objects
            .iter()
            .filter(|object| object["kind"] == "ConfigMap");
        maps.next().unwrap()["data"][name].clone()
    };
    let stacks = stacks();
    let everything = stacks
        .iter()
        .find(|case| case.frozen.ends_with("everything.yaml"));
    let spec = read(&everything.unwrap().frozen.with_extension("spec.yaml"));
    let page = format!(
        "https://{}",
        spec["ingress"]["transcription"]["host"].as_str().unwrap()
    );
    assert!(!spec["corsAllowedOrigins"].to_string().contains(&page));

    let origins = setting("auth", &[], "CORS_ALLOWED_ORIGINS").await;
    let without = ["--set=corsAllowedOrigins={https://app.example.com}"];
    let fewer = setting("auth", &without, "CORS_ALLOWED_ORIGINS").await;
    let address = setting("transcription", &[], "AUTH_TOKEN_URL").await;
    let none = setting("transcription", &["--set=authTokenURL="], "AUTH_TOKEN_URL").await;

    assert_eq!(origins, format!("https://app.example.com,{page}"));
    assert_eq!(fewer, "https://app.example.com");
    assert_eq!(address, "https://auth.example.com/token");
    assert_eq!(none, Value::Null);
}

/// What a chart sets is no extra variable: each name is refused as one, with where its value is.
#[tokio::test]
async fn a_variable_of_the_chart_is_refused_as_an_extra_one() {
    let mut refused = BTreeMap::<_, BTreeSet<String>>::new();
    for rendering in renderings().await {
        let values = read(&rendering.case.values());
        let extra = values["extraEnv"].as_array().into_iter().flatten();
        let extra = extra
            .map(|variable| variable["name"].clone())
            .collect::<Vec<_>>();
        let names = refused.entry(rendering.case.chart).or_default();
        for object in &rendering.objects {
            let container = &object["spec"]["template"]["spec"]["containers"][0];
            let variables = container["env"].as_array().into_iter().flatten();
            let own = variables.filter(|variable| !extra.contains(&variable["name"]));
            names.extend(own.map(|variable| variable["name"].as_str().unwrap().to_owned()));
            let is_settings =
                object["kind"] == "ConfigMap" && object["data"]["LISTEN_ADDR"].is_string();
            let settings = object["data"].as_object().filter(|_| is_settings);
            names.extend(
                settings
                    .into_iter()
                    .flat_map(|settings| settings.keys().cloned()),
            );
        }
    }
    for (chart, names) in refused {
        let case = cases()
            .into_iter()
            .find(|case| case.chart == chart)
            .unwrap();
        let values = case.values();
        let refusals = together(names, async |name: String| {
            let set = format!("extraEnv[0].name={name},extraEnv[0].value=x");
            let arguments = ["--values", values.to_str().unwrap(), "--set", &set];
            let said = Helm::Four.template(chart, &arguments).await.unwrap_err();
            let sentence = format!("extraEnv: {name} is set by the chart: remove it, and see ");
            assert!(said.contains(&sentence), "{chart}: {said}");
        });
        assert!(refusals.await.len() > 8);
    }
}

/// The stacks of the newest release: the charts are of that one.
fn stacks() -> Vec<rendered::Case> {
    let newest = Release::NEWEST.to_string();
    let all = rendered::cases().into_iter();
    all.filter(|case| case.release == newest).collect()
}

/// What a chart makes of a case.
async fn objects_of(chart: &str, name: &str) -> Objects {
    let mut all = renderings().await.iter();
    let rendering =
        all.find(|rendering| rendering.case.chart == chart && rendering.case.name == name);
    let rendering = rendering.unwrap_or_else(|| panic!("{chart} has no case {name}"));
    by_kind(rendering.objects.clone())
}

fn by_kind(objects: Vec<Value>) -> Objects {
    let count = objects.len();
    let keyed = objects.into_iter().map(|object| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        let key = [
            text(&object["kind"]),
            text(&metadata["namespace"]),
            text(&metadata["name"]),
        ];
        (key, object)
    });
    let keyed = keyed.collect::<Objects>();
    assert_eq!(keyed.len(), count, "two objects have one name");
    keyed
}

/// Every field that is not the same.
fn compared(case: &str, by_operator: &Objects, by_chart: &Objects) -> Vec<Difference> {
    let keys = by_operator.keys().chain(by_chart.keys());
    let mut differences = Vec::new();
    for key in keys.collect::<BTreeSet<_>>() {
        let [kind, _, name] = key;
        let object = format!("{case}: {kind} {name}");
        let both = (by_operator.get(key), by_chart.get(key));
        differences.extend(Difference::between(&object, kind, both));
    }
    differences
}

/// Each difference is allowed, each allowance is met by one, and the table of the page has the same ones.
fn assert_listed(differences: &[Difference], allowances: &[Allowance], heading: &str) {
    let unlisted = differences.iter().filter(|difference| {
        !allowances
            .iter()
            .any(|allowance| (allowance.is_met_by)(difference))
    });
    let unlisted = unlisted.collect::<Vec<_>>();
    assert!(
        unlisted.is_empty(),
        "not in charts/PARITY.md: {unlisted:#?}"
    );
    for Allowance { row, is_met_by } in allowances {
        assert!(
            differences.iter().any(is_met_by),
            "there is no such difference: {row}"
        );
    }

    let page = fs::read_to_string(root().join("charts/PARITY.md")).unwrap();
    let section = page.split(heading).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    for row in rows.clone().skip(1) {
        let cells = row.trim_matches('|').split(" | ").map(str::trim);
        let [place, _, _, reason] = cells.collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        assert!(!reason.is_empty(), "there is no reason: {row}");
        let is_known = allowances.iter().any(|allowance| allowance.row == place)
            || NOT_RENDERED.iter().any(|(known, _)| *known == place);
        assert!(is_known, "nothing shows this: {row}");
    }
    for Allowance { row, .. } in allowances {
        let start = format!("| {row} | ");
        assert!(rows.clone().any(|line| line.starts_with(&start)), "{row}");
    }
}
