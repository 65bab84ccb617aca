//! What dashboards and rules ask, as Grafana and Prometheus would ask it.

use std::fs;

use serde_json::Value;

use crate::prometheus::Prometheus;
use transcription_tests::files::root;

/// Where Grafana's files and Prometheus's rules are.
pub const FOLDER: &str = "k8s/monitoring";
/// The two dashboards.
pub const DASHBOARDS: [&str; 2] = ["services", "operator"];

/// An expression, and where it stands.
pub struct Question {
    /// The place, for people.
    pub place: String,
    /// The expression, with nothing of Grafana in it any more.
    pub expression: String,
}

/// What Grafana puts in the place of its variables.
pub struct Variables(Vec<(String, String)>);

impl Variables {
    /// Those of a dashboard with *All* chosen everywhere, as it is opened. Fails the test if a list to choose from is empty.
    pub async fn of(dashboard: &Value, prometheus: &Prometheus, range_seconds: u64) -> Self {
        let mut this = Self(vec![
            // The larger of 4 scrape intervals, and one and a step. Here that would be 4 s, and no line could be read.
            ("__rate_interval".to_owned(), "15s".to_owned()),
            ("__range".to_owned(), format!("{range_seconds}s")),
        ]);
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            if variable["type"] != "query" {
                continue;
            }
            let name = variable["name"].as_str().unwrap().to_owned();
            let asked = variable["query"]["query"].as_str().unwrap();
            let asked = this.fill(asked);
            let (selector, label) = asked
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "))
                .unwrap();
            let values = prometheus.label_values(selector, label).await;
            assert!(!values.is_empty(), "{name} has nothing to choose: {asked}");
            let all = match variable["allValue"].as_str() {
                Some(all) => all.to_owned(),
                None => format!("({})", values.join("|")),
            };
            this.0.push((name, all));
        }
        this
    }

    /// An expression with the values in it.
    pub fn fill(&self, expression: &str) -> String {
        let mut filled = expression.to_owned();
        for (name, value) in &self.0 {
            filled = filled.replace(&format!("${name}"), value);
        }
        let left = filled.split('$').skip(1).find(|rest| {
            // "$1" is Prometheus's own.
            !rest.starts_with(|first: char| first.is_ascii_digit())
        });
        assert_eq!(left, None, "a variable that nobody fills in: {filled}");
        filled
    }
}

/// A dashboard.
pub fn dashboard(name: &str) -> Value {
    serde_json::from_str(&text(&format!("dashboards/{name}.json"))).unwrap()
}

/// Every expression of a dashboard: of its panels and of its annotations.
pub fn of_dashboard(name: &str, dashboard: &Value, variables: &Variables) -> Vec<Question> {
    let mut questions = Vec::new();
    let mut ask = |place: &str, expression: &str| {
        for expression in alternatives(&variables.fill(expression)) {
            questions.push(Question {
                place: format!("{name}, {place}"),
                expression,
            });
        }
    };
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        // Rows have none, but for the panels of one that is closed.
        assert!(panel["panels"].as_array().is_none_or(Vec::is_empty));
        for target in panel["targets"].as_array().into_iter().flatten() {
            ask(title, target["expr"].as_str().unwrap());
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        let title = annotation["name"].as_str().unwrap();
        ask(title, annotation["expr"].as_str().unwrap());
    }
    questions
}

/// Every expression of the rules. What is recorded is asked for by its name too; of an alert it is asked what it compares.
pub fn of_rules() -> Vec<Question> {
    let rules = serde_saphyr::from_str::<Value>(&text("rules.yaml")).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let mut questions = Vec::new();
    for rule in groups.flat_map(|group| group["rules"].as_array().unwrap()) {
        let expression = rule["expr"].as_str().unwrap();
        let (place, expressions) = if let Some(name) = rule["record"].as_str() {
            let mut expressions = alternatives(expression);
            expressions.push(name.to_owned());
            (name, expressions)
        } else {
            let compared = alternatives(&without_thresholds(expression));
            (rule["alert"].as_str().unwrap(), compared)
        };
        questions.extend(expressions.into_iter().map(|expression| Question {
            place: place.to_owned(),
            expression,
        }));
    }
    questions
}

/// Tells how far what is compared is apart, and not whether that is enough to call somebody; and what takes something away is only to
/// be there. What stands on both sides still has to fit together.
fn without_thresholds(expression: &str) -> String {
    let words = expression.split_whitespace().map(|word| match word {
        "==" | "!=" | ">" | ">=" | "<" | "<=" => "-",
        "unless" => "and",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// One expression for each side of each `or`: what stands on one side must not hide that there is nothing on the other.
fn alternatives(expression: &str) -> Vec<String> {
    let expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((start, end)) = around_first_or(&expression) else {
        return vec![expression];
    };
    let (before, after) = (&expression[..start], &expression[end..]);
    let sides = sides_of_or(&expression[start..end]);
    let each = sides
        .into_iter()
        .map(|side| format!("{before}{side}{after}"));
    each.flat_map(|each| alternatives(&each)).collect()
}

/// Where the brackets, or the argument, around the first `or` begin and end.
fn around_first_or(expression: &str) -> Option<(usize, usize)> {
    let (or, depth, _) =
        outside_strings(expression).find(|&(at, _, _)| expression[at..].starts_with(" or "))?;
    let mut start = 0;
    let mut end = expression.len();
    for (at, level, character) in outside_strings(expression) {
        // A bracket has the depth of what is around it.
        let is_border = (level + 1 == depth && "()".contains(character))
            || (level == depth && character == ',');
        if is_border && at < or {
            start = at + 1;
        } else if is_border && at > or {
            end = end.min(at);
        }
    }
    Some((start, end))
}

fn sides_of_or(expression: &str) -> Vec<&str> {
    let ors = outside_strings(expression)
        .filter(|&(at, depth, _)| depth == 0 && expression[at..].starts_with(" or "))
        .map(|(at, _, _)| at);
    let mut sides = Vec::new();
    let mut start = 0;
    for or in ors {
        sides.push(expression[start..or].trim());
        start = or + " or ".len();
    }
    sides.push(expression[start..].trim());
    sides
}

/// The characters that are in no string, each with its place and with how many brackets are around it.
fn outside_strings(expression: &str) -> impl Iterator<Item = (usize, usize, char)> {
    let mut depth = 0;
    let mut is_in_string = false;
    expression
        .char_indices()
        .filter_map(move |(at, character)| {
            if character == '"' {
                is_in_string = !is_in_string;
            }
            if is_in_string {
                return None;
            }
            if ")}]".contains(character) {
                depth -= 1;
            }
            let found = (at, depth, character);
            if "({[".contains(character) {
                depth += 1;
            }
            Some(found)
        })
}

/// A file of [`FOLDER`].
fn text(name: &str) -> String {
    fs::read_to_string(root().join(FOLDER).join(name)).unwrap()
}

#[test]
fn each_side_of_an_or_is_asked_for_itself() {
    assert_eq!(alternatives("a{b=\"c or d\"}"), ["a{b=\"c or d\"}"]);
    assert_eq!(
        alternatives("a{b=\"c\", d=\"e\"} or vector(0)"),
        ["a{b=\"c\", d=\"e\"}", "vector(0)"]
    );
    assert_eq!(
        alternatives("1 - ((sum by (x) (a)) or vector(0)) / b"),
        ["1 - ((sum by (x) (a))) / b", "1 - (vector(0)) / b"]
    );
    assert_eq!(
        alternatives("((a > 1) or (b or c)) and d"),
        ["((a > 1)) and d", "((b)) and d", "((c)) and d"]
    );
}

#[test]
fn a_threshold_is_no_part_of_what_is_asked() {
    let asked = without_thresholds("a / b > 0.1\n  unless on (x) c{d!=\"e\"} == 1");

    assert_eq!(asked, "a / b - 0.1 and on (x) c{d!=\"e\"} - 1");
}
