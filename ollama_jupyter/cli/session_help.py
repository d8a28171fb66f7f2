"""What `/?` prints, and what a `/` command prints that lacks its words."""

from typing import Final

OVERVIEW: Final = '''Available Commands:
  /set            Change this session
  /show           Say what the model is made of
  /load <model>   Go on with another model
  /save <model>   Make a model of this session
  /clear          Forget what was said
  /list           List the installed models
  /bye            Leave
  /?, /help       This help; /? set, /? show and /? shortcuts say more

Begin a message with """ to write several lines; end it with """.

'''

SET: Final = """Available Commands:
  /set parameter ...     Set a parameter of the model
  /set system <text>     Set the system message
  /set history           Keep the lines typed
  /set nohistory         Keep no lines typed
  /set wordwrap          Wrap at words
  /set nowordwrap        Don't wrap
  /set format json       Ask for JSON
  /set noformat          Ask for text
  /set verbose           Show timings
  /set quiet             Show no timings
  /set think [level]     Let the model think
  /set nothink           Don't let it think

"""

PARAMETERS: Final = """Available Parameters:
  /set parameter seed <int>               Start of the random numbers
  /set parameter num_predict <int>        Most tokens of an answer
  /set parameter top_k <int>              Choose among the k likeliest tokens
  /set parameter top_p <float>            Choose among tokens of this share of probability
  /set parameter min_p <float>            Choose among tokens this likely next to the likeliest
  /set parameter num_ctx <int>            Tokens the context holds
  /set parameter temperature <float>      How freely to choose
  /set parameter repeat_penalty <float>   How strongly to avoid repetition
  /set parameter repeat_last_n <int>      How far back to look for repetition
  /set parameter num_gpu <int>            Layers on the GPU
  /set parameter stop <text> <text> ...   Texts that end an answer

"""

SHOW: Final = """Available Commands:
  /show info         Overview
  /show license      License
  /show modelfile    Modelfile
  /show parameters   Parameters of the model and of this session
  /show system       System message
  /show template     Prompt template

"""

SHORTCUTS: Final = """Keys:
  Ctrl + a / e       Start / end of the line
  Ctrl + b / f       One character back / forward
   Alt + b / f       One word back / forward
  Ctrl + k / u       Delete to the end / start of the line
  Ctrl + w           Delete the word before the cursor
  Ctrl + l           Clear the screen
  Ctrl + j           New line in the message
  Ctrl + g           Write the message in an editor
  Ctrl + z           Suspend
  Ctrl + c           Stop the answer; at the prompt, drop the line
  Ctrl + d           Leave

"""

TOPICS: Final = {
    "set": SET,
    "/set": SET,
    "show": SHOW,
    "/show": SHOW,
    "shortcut": SHORTCUTS,
    "shortcuts": SHORTCUTS,
}
