package configtest

import "testing"

func TestReplaceBlock(t *testing.T) {
	for _, tc := range []struct {
		name, page, want string
		wantErr          bool
	}{
		{name: "empty block", page: "# A\n<!-- begin config --><!-- end config -->\nB\n", want: "# A\n<!-- begin config -->\nnew\n<!-- end config -->\nB\n"},
		{name: "old text", page: "<!-- begin config -->\nold\nold\n<!-- end config -->", want: "<!-- begin config -->\nnew\n<!-- end config -->"},
		{name: "already so", page: "x<!-- begin config -->\nnew\n<!-- end config -->y", want: "x<!-- begin config -->\nnew\n<!-- end config -->y"},
		{name: "no block", page: "# A\n", wantErr: true},
		{name: "no end", page: "<!-- begin config -->\n", wantErr: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := replaceBlock([]byte(tc.page), []byte("\nnew\n\n"))
			if (err != nil) != tc.wantErr || string(got) != tc.want {
				t.Errorf("replaceBlock = %q, %v, want %q, error %v", got, err, tc.want, tc.wantErr)
			}
		})
	}
}
