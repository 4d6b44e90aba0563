"""Take the screenshot `assets/worksheet.png`: worksheet 6 in JupyterLab, with one right and one almost right answer.

Needs JupyterLab with a kernel that has kvae, Playwright, and Chromium: `pip install jupyterlab playwright`.

    python assets/notebook.py --chromium /usr/bin/chromium
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
NOTEBOOK = HERE.parent / "workshops" / "student" / "w06_vae_in_keras.ipynb"
ANSWERS = {  # for the first two blanks: the first is right, the second lacks a factor
    "6.1": "return z_mean + ops.exp(0.5 * z_log_var) * noise",
    "6.2": "return ops.sum(ops.exp(z_log_var) + z_mean**2 - z_log_var - 1.0, axis=-1)",
}
PORT = 8899
SCROLL = """share => {
    const pane = document.querySelector('.jp-WindowedPanel-outer');
    pane.scrollTop = share * pane.scrollHeight;
}"""


def main():
    """Fill in the answers, run the notebook, scroll to them and take the screenshot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default=None, help="the browser; default: the one installed by Playwright")
    parser.add_argument("--jupyter", default=str(Path(sys.executable).with_name("jupyter-lab")))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / NOTEBOOK.name).write_text(json.dumps(filled_in()))
        command = [arguments.jupyter, "--no-browser", f"--port={PORT}", "--IdentityProvider.token=", "--allow-root"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen([*command, f"--ServerApp.root_dir={folder}"], **quiet)
        try:
            take_picture(arguments.chromium)
        finally:
            server.terminate()


def filled_in():
    """The student's notebook with the answers filled in."""
    notebook = json.loads(NOTEBOOK.read_text())
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        for exercise, answer in ANSWERS.items():
            if cell["cell_type"] == "code" and f'check("{exercise}"' in source:
                source = source.replace("return ...  # YOUR CODE: 1 line", answer)
        cell["source"] = source
    return notebook


def take_picture(chromium):
    """Run all cells in a browser, and take a screenshot of the first two exercises."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1400})
        address = f"http://localhost:{PORT}/lab/tree/{NOTEBOOK.name}"
        for _ in range(30):  # until the server responds
            try:
                page.goto(address)
                break
            except Exception:
                time.sleep(2)
        page.get_by_text("Exercise 6.1").wait_for(state="attached", timeout=120_000)
        page.get_by_text("Run", exact=True).first.click()
        page.get_by_text("Run All Cells", exact=True).click()
        verdict = page.get_by_text("6.2 ✗")
        for _ in range(60):  # until the cells have run; JupyterLab renders only those near the viewport
            page.evaluate(SCROLL, 0.17)
            page.wait_for_timeout(3000)
            if verdict.count():
                break
        page.get_by_role("heading", name="Exercise 6.1").evaluate("heading => heading.scrollIntoView({block: 'start'})")
        page.wait_for_timeout(2000)
        top = page.get_by_role("heading", name="Exercise 6.1").bounding_box()
        bottom = verdict.bounding_box()
        clip = {"x": 300, "y": top["y"] - 10, "width": 1060, "height": bottom["y"] + bottom["height"] - top["y"] + 25}
        page.screenshot(path=HERE / "worksheet.png", clip=clip)
        browser.close()


if __name__ == "__main__":
    main()
