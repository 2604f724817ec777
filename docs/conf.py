"""The site: python -m pip install -e ".[docs]" && python -m sphinx -W --keep-going docs public"""

project = "consingan_jax"
author = "the consingan_jax authors"
copyright = "MIT licence"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "sphinx_book_theme"
html_title = "consingan_jax"
html_theme_options = {"show_toc_level": 2, "use_download_button": False}
exclude_patterns = ["_build", "notebooks/runs"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # -D nb_execution_mode=force runs the notebooks
nb_execution_timeout = 600
nb_execution_raise_on_error = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
linkcheck_anchors = False
