"""Recipes on Train: a tick box each, and what those that are chosen change in the settings. No gradio."""

from __future__ import annotations

from trainer import presets
from trainer.text import Words
from trainer.ui.elements import element, escape
from trainer.ui.train.actions import Checked


def rendered(say: Words) -> str:
    """The choice; which are chosen is filled in by the script."""
    boxes = "".join(_box(recipe, say) for recipe in presets.recipes.every())
    return (
        f'<details class="t-part" data-part="recipes"><summary>{element("h3", say("train.recipes"))}'
        f"{element('span', say('train.recipes_about'), 't-small')}</summary>"
        f'<fieldset class="t-recipes"><legend>{escape(say("train.recipes_choose"))}</legend>{boxes}</fieldset>'
        '<div data-slot="recipes" role="status"></div></details>'
    )


def _box(recipe: presets.recipes.Recipe, say: Words) -> str:
    papers = f'<span class="t-small t-papers" lang="en">{escape(recipe.papers)}</span>'
    return (
        f'<label class="t-recipe"><input type="checkbox" data-recipe="{escape(recipe.name)}"><span>'
        f"<code>{escape(recipe.name)}</code> {escape(recipe.title_in(say.language))}<br>{papers}</span></label>"
    )


def changed(checked: Checked, say: Words) -> str | None:
    """What the chosen recipes, and those of the run that the form starts from, change; "" where there are none, and
    None where that is not known because something is wrong."""
    if checked.spec is None:
        return None if checked.form.recipes else ""
    changes, lists = presets.recipes.changes(checked.spec), []
    for name in checked.spec.recipes:
        done = [say.said(change.message()) for change in changes if change.recipe == name]
        items = "".join(element("li", text) for text in done or [say("plan.card.recipe_changes_nothing")])
        lists.append(f"{element('h4', name)}<ul class='t-list'>{items}</ul>")
    return "".join(lists)
