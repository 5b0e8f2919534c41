//! Chat templates from elsewhere: rendered as jinja2 does, and kept within bounds.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use std::path::Path;

use gamut_loader::{ChatTemplate, Content, Error, Message, Part, TemplateOptions};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Conversation {
    messages: Vec<Message>,
    tools: Value,
}

fn template(source: &str) -> Result<ChatTemplate, Error> {
    ChatTemplate::new(Path::new("some/chat_template.jinja"), source, Map::new())
}

fn render(source: &str) -> Result<String, Error> {
    template(source)?.render(&[Message::text("user", "Hi")], &TemplateOptions::default())
}

/// The expected text is jinja2's own, set up as transformers does it.
#[test]
fn renders_an_agent_template_as_jinja2_does() {
    let template = template(include_str!("data/agent.jinja")).unwrap();
    let Conversation { messages, tools } =
        serde_json::from_str(include_str!("data/agent.json")).unwrap();
    let variables = Map::from_iter([
        ("tools".to_owned(), tools),
        ("enable_thinking".to_owned(), json!(false)),
    ]);
    let options = TemplateOptions {
        add_generation_prompt: true,
        variables,
    };
    let text = template.render(&messages, &options).unwrap();
    assert_eq!(text, include_str!("data/agent.expected.txt"));
}

#[test]
fn long_conversations_fit_into_the_fuel() {
    let template = template(include_str!("data/agent.jinja")).unwrap();
    let turn = ["user", "assistant"].map(|role| Message::text(role, "la ".repeat(300)));
    let messages: Vec<_> = turn.iter().cycle().take(500).cloned().collect();
    let text = template
        .render(&messages, &TemplateOptions::default())
        .unwrap();
    assert_eq!(text.matches("<|im_end|>").count(), 500);
}

#[test]
fn flags_and_audio_reach_the_template() {
    let source = "{% for m in messages %}{% if m.content is string %}{{ m.content }}\
                  {% else %}{% for c in m.content %}[{{ c.type }}{{ c.text }}]{% endfor %}{% endif %}\
                  {{ m.reasoning_content }}{% endfor %}\
                  |{{ add_generation_prompt }}|{{ enable_thinking is defined }}|{{ tools is none }}";
    let template = template(source).unwrap();
    let mut answer = Message::text("assistant", "yes");
    answer.set("reasoning_content", "\"because\"").unwrap();
    let refused = answer.set("tool_calls", "[").unwrap_err().to_string();
    assert!(refused.starts_with("tool_calls: bad JSON: "), "{refused}");
    let messages = [Message::audio("user", "Loud?"), answer];
    let mut options = TemplateOptions::default();
    assert_eq!(
        template.render(&messages, &options).unwrap(),
        "[audio][textLoud?]yesbecause|True|False|True"
    );
    options.add_generation_prompt = false;
    options
        .variables
        .insert("enable_thinking".to_owned(), json!(true));
    // Variables of the caller do not replace the conversation.
    options.variables.insert("messages".to_owned(), json!([]));
    assert_eq!(
        template.render(&messages, &options).unwrap(),
        "[audio][textLoud?]yesbecause|False|True|True"
    );
}

#[test]
fn messages_serialise_as_transformers_writes_them() {
    let message = Message::audio("user", "Key?");
    let value = json!({
        "role": "user", "content": [{ "type": "audio" }, { "type": "text", "text": "Key?" }],
    });
    assert_eq!(serde_json::to_value(&message).unwrap(), value);
    assert_eq!(serde_json::from_value::<Message>(value).unwrap(), message);
    assert_eq!(
        message.content,
        Content::Parts(vec![
            Part::Audio,
            Part::Text {
                text: "Key?".to_owned()
            }
        ])
    );
}

#[test]
fn whitespace_is_trimmed_as_in_transformers() {
    let source = "a\n  {% if true %}\n  b\n  {% endif %}\nc\n\n";
    assert_eq!(render(source).unwrap(), "a\n  b\nc\n");
}

#[test]
fn loops_can_be_left() {
    let source = "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}\
                  {% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}";
    assert_eq!(render(source).unwrap(), "02");
}

#[test]
fn the_present_year_is_known() {
    let year: u32 = render("{{ strftime_now('%Y') }}").unwrap().parse().unwrap();
    assert!((2024..2200).contains(&year));
    let message = render("{{ strftime_now('%Q') }}").unwrap_err().to_string();
    assert!(message.contains("%Q"), "{message}");
}

#[test]
fn refusals_carry_the_templates_words() {
    for source in [
        "{{ raise_exception('no ' + messages[0].role) }}",
        "{% macro f() %}{{ raise_exception('no user') }}{% endmacro %}{{ f() }}",
    ] {
        let message = render(source).unwrap_err().to_string();
        assert_eq!(
            message,
            "some/chat_template.jinja: the chat template refuses this conversation: no user"
        );
    }
}

#[test]
fn mistakes_are_errors_with_the_line() {
    for (source, parts) in [
        ("\n{% for %}", ["syntax error", ":2)"]),
        ("\n\n{{ messages.x.y }}", ["undefined", ":3)"]),
        ("{{ 'a' | nonsense }}", ["unknown filter", "nonsense"]),
        ("{% include 'other' %}", ["template not found", ":1)"]),
    ] {
        let message = render(source).unwrap_err().to_string();
        for part in ["some/chat_template.jinja", parts[0], parts[1]] {
            assert!(message.contains(part), "`{part}` is not in `{message}`");
        }
    }
}

#[test]
fn no_template_runs_away() {
    let endless =
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    let doubling = "{% set ns = namespace(x='a') %}{% for a in range(60) %}\
                    {% set ns.x = ns.x + ns.x %}{% endfor %}";
    let deep = "{% set ns = namespace(x=[]) %}{% for a in range(100000) %}\
                {% set ns.x = [[[[[[[[[[ns.x]]]]]]]]]] %}{% endfor %}";
    let wide = "{{ '{:>99999999999}'.format(1) }}";
    for source in [endless, doubling, deep, wide, "{{ 'a' * 100000000000 }}"] {
        let message = render(source).unwrap_err().to_string();
        assert!(message.contains("did not end within"), "{message}");
    }
    let recursion = render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").unwrap_err();
    assert!(recursion.to_string().contains("recursion"), "{recursion}");
    let talkative = "{% set s = 'x' * 100000 %}{% for a in range(90) %}{{ s }}{% endfor %}";
    let message = render(talkative).unwrap_err().to_string();
    assert!(message.contains("more than 8388608 bytes"), "{message}");
}

#[test]
fn deep_values_do_not_exhaust_the_stack() {
    let source = "{% set ns = namespace(x=[]) %}{% for a in range(30000) %}\
                  {% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}";
    assert_eq!(render(source).unwrap().len(), 2 * 30_001);
}
