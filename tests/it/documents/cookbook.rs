//! Every recipe of docs/cookbook.md does to each statement of its table what the table says.

use countersign_policy::moment::{LocalTime, Moment};

use super::{blocks, page};
use crate::support::bench::Bench;

/// Who asks, and when: `` `engineering`, Tue 22:30 ``, `` `engineering`, in a block ``.
fn asked(cell: &str) -> (String, Moment) {
    let mut parts = cell.split(", ");
    let group = parts.next().expect("a group").trim_matches('`').to_owned();
    let mut moment = Moment { in_transaction: Some(false), local: None };
    for part in parts {
        match part.split_once(' ') {
            Some(("in", "a block")) => moment.in_transaction = Some(true),
            Some((day, time)) => {
                let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
                let weekday = days.iter().position(|known| *known == day).unwrap_or_else(|| panic!("{cell}"));
                let (hour, minute) = time.split_once(':').expect("a time");
                let minute = hour.parse::<u16>().expect("hours") * 60 + minute.parse::<u16>().expect("minutes");
                moment.local = Some(LocalTime { weekday: u8::try_from(weekday).expect("a day"), minute });
            }
            None => panic!("{cell}"),
        }
    }
    (group, moment)
}

/// The rows of the table of a recipe: who, statement, what it gets.
fn rows(recipe: &str) -> Vec<[String; 3]> {
    let lines = recipe.lines().filter(|line| line.starts_with("| `"));
    let cells = |line: &str| -> [String; 3] {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("three cells: {cells:?}"))
    };
    lines.map(cells).collect()
}

#[tokio::test]
async fn every_recipe_does_what_its_table_says() {
    let text = page("docs/cookbook.md");
    let recipes: Vec<&str> = text.split("\n## ").skip(1).collect();
    assert!(recipes.len() >= 12, "only {} recipes", recipes.len());
    let mut bench = Bench::with("").await;
    let mut wrong = Vec::new();
    for recipe in recipes {
        let title = recipe.lines().next().unwrap_or_default();
        let policy: String = blocks(recipe, "toml").into_iter().map(|(_, block)| block).collect();
        bench.under(&policy);
        let rows = rows(recipe);
        let passes = rows.iter().filter(|[_, _, expected]| expected == "allow").count();
        assert!(passes > 0 && passes < rows.len(), "{title}: show what it catches, and what it leaves alone");
        for [who, statement, expected] in rows {
            let ((group, moment), statement) = (asked(&who), statement.trim_matches('`'));
            let found = bench.verdict(&group, moment, statement).await;
            if found != expected {
                wrong.push(format!("{title}: {who}: {statement}: {found}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
