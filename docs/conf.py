"""Configuration of the site: `python -m sphinx -W docs docs/_build/html`.

The pages are plain Markdown. The build runs their code and shows the outputs. Nothing is downloaded: links to JAX's
documentation are written out, and formulas become MathML.
"""

import importlib
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

# Some pages need eight devices. Each program runs once, so compiling counts, not running. Fusion emitters of XLA:CPU
# take half of the time of a compilation. JAX 0.12 has no flag to turn them off, and an unknown flag ends the process.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
FLAGS = ["--xla_force_host_platform_device_count=8", "--xla_backend_optimization_level=0"]
FLAGS += ["--xla_llvm_disable_expensive_passes=true"]
if importlib.import_module("jax").__version_info__ < (0, 11):
    FLAGS += ["--xla_cpu_use_fusion_emitters=false"]
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS])

project = "jaxce"
author = "The jaxce authors"
project_copyright = author
version = release = importlib.import_module("jaxce").__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "api_pages",
    "mathml",
    "outputs",
    "search_words",
]
exclude_patterns = ["_build", "figures"]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
copybutton_selector = "div.highlight pre:not(.output pre)"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # api_pages writes the types as the source has them
maximum_signature_line_length = 88
napoleon_custom_sections = ["Source"]
napoleon_use_ivar = True
toc_object_entries = False
viewcode_line_numbers = True

html_math_renderer = "mathml"
html_theme = "sphinx_book_theme"
html_title = f"jaxce {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(HERE / "_static" / "scorer.js")
html_favicon = "_static/favicon.ico"
html_extra_path = ["_static/favicon.ico"]  # browsers look for it there, too
html_context = {"default_mode": "auto"}
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navigation_with_keys": False,
    "show_navbar_depth": 1,
    "home_page_in_toc": True,
    "navbar_persistent": [],
}
